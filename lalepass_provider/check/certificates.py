"""How long certificates are good for."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from lalepass_provider.check.finding import Finding, error, ok, warning

_SOON_DAYS: Final = 21
_DAY: Final = 86_400.0


def look(ders: Sequence[bytes], *, whose: str, option: str, now: float) -> Iterator[Finding]:
    """Look at a chain: what matters is which of them ends first."""
    certificates = []
    for der in ders:
        try:
            certificates.append(x509.load_der_x509_certificate(der))
        except ValueError:  # OpenSSL took it; this parser is stricter
            continue
    if certificates:
        yield _first_to_end(certificates, whose=whose, option=option, now=now)


def look_at_file(path: Path, *, whose: str, option: str, now: float) -> Iterator[Finding]:
    """Look at a PEM file. One that can't be read has been complained about elsewhere."""
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return
    yield _first_to_end(certificates, whose=whose, option=option, now=now)


def _first_to_end(
    certificates: Sequence[x509.Certificate], *, whose: str, option: str, now: float
) -> Finding:
    first = min(certificates, key=lambda certificate: certificate.not_valid_after_utc)
    days = (first.not_valid_after_utc.timestamp() - now) / _DAY
    date = datetime.fromtimestamp(first.not_valid_after_utc.timestamp(), UTC).date()
    which = "The certificate" if first is certificates[0] else "A certificate in the chain"
    fix = "Renew it. Lalepass reads the files again when they change."
    if days < 0:
        return error(
            "certificate-ended", f"{which} {whose} ended on {date}.", fix=fix, option=option
        )
    if days < _SOON_DAYS:
        says = f"{which} {whose} ends on {date}, in {days:.0f} days."
        return warning("certificate-ends-soon", says, fix=fix, option=option)
    return ok("certificate", f"{which} {whose} is good until {date}.", option=option)
