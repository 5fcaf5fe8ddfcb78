"""A certificate authority for two: the service and the homeserver, inside one network.

For installations without one of their own. The authority is a key and a certificate in a folder;
what it signs is short-lived and made anew in time. Certificates are X.509 (RFC 5280) with ECDSA on
P-256; names are in the subject alternative name only, where RFC 9525 has clients look.
"""

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_DAYS: Final = 3650
_SKEW: Final = timedelta(minutes=5)
"""Certificates begin this long ago: the clocks of two machines need not agree to the second."""


class Use(Enum):
    """What a certificate is good for."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates. Whoever has its key is whoever they like: keep its folder apart."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def open(cls, folder: Path, *, now: datetime) -> "Authority":
        """Read the authority from `ca.crt` and `ca.key` in a folder, or make it there.

        The key comes first. Where only that is there, the making of it was interrupted: it gets
        its certificate, and what it has signed stays good.

        Raises:
            OSError: the folder can't be read or written.
            ValueError: what is in the files is no authority of this kind.
        """
        files = Signed(folder / "ca.crt", folder / "ca.key")
        if not files.key.exists():
            # One without its key is of no use to anybody.
            files.certificate.unlink(missing_ok=True)
            write_whole(files.key, _pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
        if not files.certificate.exists():
            made = _self_signed(_read_key(files.key), now)
            _write_certificate(files.certificate, made, mode=0o644)
        certificate, key = _read(files)
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        """Its certificate: what the other side has to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(
        self,
        files: Signed,
        *,
        use: Use,
        hosts: Sequence[str],
        now: datetime,
        days: int,
        mode: int,
    ) -> None:
        """Make a key and a certificate for it, valid for so many days.

        Both files are replaced, the key first; each of them is always whole.

        Raises:
            OSError: they can't be written.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(hosts[0]))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(min(now + timedelta(days=days), self._end))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
            .add_extension(x509.ExtendedKeyUsage([use.value]), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        write_whole(files.key, _pem(key), mode=mode)
        _write_certificate(files.certificate, certificate, mode=mode)

    def stands(self, files: Signed, *, use: Use, hosts: Sequence[str], until: datetime) -> bool:
        """Say whether these files are ours, for this use and these hosts, and still good then."""
        try:
            certificate, key = _read(files)
            certificate.verify_directly_issued_by(self._certificate)
        except (OSError, ValueError, TypeError, InvalidSignature):
            return False
        extensions = certificate.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return (
            list(names) == _names(hosts)
            and list(uses) == [use.value]
            and certificate.not_valid_after_utc > until
            and certificate.public_key() == key.public_key()
        )

    @property
    def _end(self) -> datetime:
        return self._certificate.not_valid_after_utc


def end_of(path: Path) -> float:
    """Return when the first certificate in a file ends, in seconds since 1970; NaN if unknown."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        # What OpenSSL takes, this library may not; it is a figure and nothing else.
        return math.nan


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _name("Lalepass installation")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _read(files: Signed) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    return certificate, _read_key(files.key)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key on an elliptic curve")  # noqa: TRY004 - it is in a file
    return key


def _name(common: str) -> x509.Name:
    # A common name has at most 64 characters, and nobody looks at it.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_general_name(host) for host in hosts]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_certificate(path: Path, certificate: x509.Certificate, *, mode: int) -> None:
    write_whole(path, certificate.public_bytes(serialization.Encoding.PEM), mode=mode)


def write_whole(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file in one step: a reader sees the old one or the new one.

    Raises:
        OSError: it can't be written.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        # The system does not say which file was meant.
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
