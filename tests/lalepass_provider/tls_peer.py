"""A TLS server that answers one request and then neither closes nor lets itself be asked to."""

import socket
import ssl
import tempfile
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import ssl as twisted_ssl
from twisted.internet import task
from twisted.web.client import BrowserLikePolicyForHTTPS

from tests.lalepass_provider.on_reactor import reactor

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


class TlsPeer:
    """Runs on a thread, since Twisted's own TLS answers a polite close by itself."""

    def __init__(self) -> None:
        certificate, key = _self_signed("localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(key + certificate)
            context.load_cert_chain(file.name)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        authority = twisted_ssl.Certificate.loadPEM(certificate)
        self.trusted = BrowserLikePolicyForHTTPS(twisted_ssl.trustRootFromCertificates([authority]))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.close()
        self._thread.join(timeout=10)

    async def hung_up(self) -> bool:
        """Wait until the other side has gone, ten seconds at most."""
        for _ in range(1000):
            if not self._thread.is_alive():
                return True
            await task.deferLater(reactor, 0.01)
        return False

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(20)
        secure = self._context.wrap_socket(connection, server_side=True)
        secure.recv(65536)
        secure.sendall(_ANSWER)
        plain = socket.socket(fileno=secure.detach())
        plain.settimeout(20)
        # Below TLS: the polite end arrives here as bytes that nobody answers.
        with plain, suppress(ConnectionError):
            while plain.recv(65536):
                pass


def _self_signed(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
