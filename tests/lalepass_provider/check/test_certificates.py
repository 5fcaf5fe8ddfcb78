"""How long certificates are good for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lalepass_provider.check import certificates
from tests.certificates import Authority
from tests.lalepass_provider.check.found import names

DAY = 86_400.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def parsed(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def der(pem: bytes) -> bytes:
    return parsed(pem).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (365.0, []),
        (22.0, []),
        (20.0, ["certificate-ends-soon"]),
        (0.5, ["certificate-ends-soon"]),
        (-1.0, ["certificate-ended"]),
    ],
)
def test_an_end_is_seen_before_it_comes(
    authority: Authority, tmp_path: Path, days: float, expected: list[str]
) -> None:
    pem = authority.issue("auth.example.org").certificate
    now = parsed(pem).not_valid_after_utc.timestamp() - days * DAY
    (tmp_path / "pem").write_bytes(pem)

    of_peer = list(certificates.look([der(pem)], whose="of it", option="o", now=now))
    of_file = list(certificates.look_at_file(tmp_path / "pem", whose="of it", option="o", now=now))
    assert names(of_peer) == names(of_file) == expected
    assert len(of_peer) == 1


NOW = datetime(2026, 11, 24, tzinfo=UTC)


def ending(*, days: int) -> bytes:
    """A certificate that ends so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1000))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("days", "says"),
    [
        ((3, 400), "The certificate of it ends on 2026-11-27, in 3 days."),
        ((400, 3), "A certificate in the chain of it ends on 2026-11-27, in 3 days."),
        ((30, -2, 3), "A certificate in the chain of it ended on 2026-11-22."),
    ],
)
def test_the_first_of_a_chain_to_end_counts(days: tuple[int, ...], says: str) -> None:
    chain = [ending(days=each) for each in days]
    (found,) = certificates.look(chain, whose="of it", option="o", now=NOW.timestamp())

    assert found.says == says


def test_plain_http_has_none() -> None:
    assert list(certificates.look([], whose="of it", option="o", now=0)) == []


def test_what_is_no_certificate_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("x")

    assert list(certificates.look([b"x"], whose="of it", option="o", now=0)) == []
    for name in ("pem", "none"):
        path = tmp_path / name
        assert list(certificates.look_at_file(path, whose="of it", option="o", now=0)) == []
