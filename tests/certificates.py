"""A certificate authority for tests."""

import base64
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tools.gate import GateTls

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_END = _BEGIN + timedelta(days=36500)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in the PEM form."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Return the paths of the certificate and of the key."""
        paths = directory / f"{name}.pem", directory / f"{name}.key"
        paths[0].write_bytes(self.certificate)
        paths[1].write_bytes(self.key)
        return paths


def verify_as_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have contexts begin as strict, and as lenient, as they do from Python 3.13 on.

    That is what the image has; the tests may be run by an older one.
    """
    default = ssl.create_default_context

    def as_of_3_13(**files: Any) -> ssl.SSLContext:
        context = default(**files)
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_of_3_13)


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, directory: Path, name: str = "ca") -> Path:
        """Return the path of the authority's own certificate."""
        path = directory / f"{name}.pem"
        path.write_bytes(self.certificate)
        return path

    def issue(self, *names: str) -> Pair:
        """Make a certificate for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = (
            _builder(subject, self._name, key)
            .add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def short_pair() -> Pair:
    """Make a certificate for itself, with a key that nobody should use any more."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "short")])
    certificate = _builder(name, name, key).sign(key, hashes.SHA256())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def encrypted(pair: Pair, passphrase: bytes) -> bytes:
    """Return the key with a passphrase on it."""
    key = serialization.load_pem_private_key(pair.key, password=None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


_P256 = bytes.fromhex("2a8648ce3d030107")


def of_another_curve(pem: bytes) -> bytes:
    """Return a certificate or key that says to be of a curve that no library knows."""
    return _rewritten(pem, _P256, _P256[:-1] + b"\x7f")


def of_another_version(pem: bytes) -> bytes:
    """Return a certificate that says to be of a version that there is not."""
    return _rewritten(pem, bytes.fromhex("a003020102"), bytes.fromhex("a003020109"))


def _rewritten(pem: bytes, old: bytes, new: bytes) -> bytes:
    first, *middle, last = pem.strip().splitlines()
    der = base64.b64decode(b"".join(middle))
    assert old in der
    changed = base64.encodebytes(der.replace(old, new))
    return b"\n".join([first, changed.strip(), last, b""])


def gate_tls(authority: Authority, directory: Path, *, callers: Path | None = None) -> GateTls:
    """Return how a gate speaks TLS as `localhost`, with people whom `callers` knows if given."""

    def context(name: str, issuer: Authority) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*issuer.issue("localhost").write(directory, name))
        if callers is not None:
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(callers)
        return made

    return GateTls(context("gate", authority), context("wrong", Authority("nobody's")))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
