"""A TLS server that answers one request and then neither closes nor lets itself be asked to."""

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from twisted.internet import task

from lalepass_provider.tls import ClientTls, TlsFiles
from tests.certificates import Authority
from tests.lalepass_provider.on_reactor import reactor

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


class TlsPeer:
    """Runs on a thread, since Twisted's own TLS answers a polite close by itself."""

    def __init__(self, directory: Path) -> None:
        authority = Authority()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("localhost").write(directory, "peer"))
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.trusted = ClientTls(TlsFiles(ca_path=authority.write(directory)))
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
