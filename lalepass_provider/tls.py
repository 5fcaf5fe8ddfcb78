"""Whom the provider trusts, and who it is, in TLS."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

from lalepass_provider.files import FileFault, Fixed, Held, Watched

_BLOCK: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", flags=re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files. All may be None: the platform's authorities, and nobody in particular."""

    ca_path: Path | None = None
    """Certificates of authorities, in place of those of the platform."""
    certificate_path: Path | None = None
    """Our certificate, and those between it and an authority."""
    key_path: Path | None = None
    """Its private key, without a passphrase."""


@dataclass(frozen=True)
class _Material:
    trust: Any
    options: dict[str, Any]


class ClientTls:
    """How TLS is agreed on: 1.2 or newer, with the name of the other side verified."""

    def __init__(self, files: TlsFiles) -> None:
        """Read the files.

        Raises:
            FileFault: one can't be read or makes no sense; or the key is another certificate's.
        """
        paths = [p for p in (files.ca_path, files.certificate_path, files.key_path) if p]
        self._held: Held[_Material] = (
            Watched(paths, lambda contents: _material(files, dict(zip(paths, contents))))  # noqa: B905 - one content for each path
            if paths
            else Fixed(_material(files, {}))
        )

    @property
    def version(self) -> int:
        """Another number after each change of the files."""
        self._held.current()
        return self._held.version

    def agreement(self, host: str) -> Callable[[], IOpenSSLClientConnectionCreator]:
        """Return what says how TLS with this host is to be agreed on."""
        made: tuple[int, IOpenSSLClientConnectionCreator] | None = None

        def creator() -> IOpenSSLClientConnectionCreator:
            nonlocal made
            material = self._held.current()
            # Made once and not for each connection: the authorities of a platform are many.
            if made is None or made[0] != self._held.version:
                made = (self._held.version, _creator(host, material))
            return made[1]

        return creator


def _creator(host: str, material: _Material) -> IOpenSSLClientConnectionCreator:
    creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(
        host, trustRoot=material.trust, extraCertificateOptions=dict(material.options)
    )
    return creator


def _material(files: TlsFiles, contents: dict[Path, bytes]) -> _Material:
    trust = platformTrust()
    options: dict[str, Any] = {"raiseMinimumTo": TLSVersion.TLSv1_2}
    if files.ca_path is not None:
        authorities = _certificates(files.ca_path, contents[files.ca_path])
        trust = trustRootFromCertificates(
            [Certificate(crypto.X509.from_cryptography(one)) for one in authorities]
        )
    if files.certificate_path is not None and files.key_path is not None:
        leaf, *between = _certificates(files.certificate_path, contents[files.certificate_path])
        options["privateKey"] = _key(
            files.key_path,
            contents[files.key_path],
            _public_key_of(files.certificate_path, leaf),
        )
        options["certificate"] = _x509(leaf)
        options["extraCertChain"] = [_x509(one) for one in between]
        _refuse_what_openssl_refuses(files.certificate_path, options)
    return _Material(trust, options)


def _refuse_what_openssl_refuses(path: Path, options: dict[str, Any]) -> None:
    """Find now what else would fail each connection, such as a key that is too short."""
    try:
        CertificateOptions(**options).getContext()
    except SSL.Error as exc:
        facts = ", ".join(str(each[-1]) for each in exc.args[0]) if exc.args else ""
        raise FileFault(path, f"OpenSSL can't use it: {facts}") from None


def _x509(certificate: x509.Certificate) -> crypto.X509:
    return crypto.X509.from_cryptography(certificate)


def _certificates(path: Path, content: bytes) -> Sequence[x509.Certificate]:
    try:
        found = [x509.load_pem_x509_certificate(block) for block in _BLOCK.findall(content)]
    except (ValueError, x509.InvalidVersion):
        raise FileFault(path, "a certificate in it is damaged") from None
    if not found:
        raise FileFault(path, "there is no certificate in it, in the PEM form")
    return found


def _public_key_of(path: Path, certificate: x509.Certificate) -> bytes:
    try:
        return _public(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        raise FileFault(path, "a certificate for a key of this kind is not supported") from None


def _key(path: Path, content: bytes, public: bytes) -> crypto.PKey:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise FileFault(path, "the key in it has a passphrase") from None
    except ValueError:
        raise FileFault(path, "there is no private key in it, in the PEM form") from None
    except UnsupportedAlgorithm:
        raise FileFault(path, "a key of this kind is not supported") from None
    if _public(key.public_key()) != public:
        raise FileFault(path, "the key in it is not the one of the certificate")
    try:
        return crypto.PKey.from_cryptography_key(key)  # type: ignore[arg-type]  # it says what it takes
    except TypeError:
        raise FileFault(path, "a key of this kind can't be used for TLS") from None


def _public(key: Any) -> bytes:  # noqa: ANN401 - one of many classes
    content: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return content
