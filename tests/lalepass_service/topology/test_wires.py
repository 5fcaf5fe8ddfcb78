"""What all that is asked over TLS has in common."""

import ssl
from pathlib import Path

import pytest

from lalepass_service.topology.wires import tls_of
from tests.certificates import verify_as_python_3_13
from tests.lalepass_service.topology.certified import Certified


def test_it_is_no_stricter_than_the_parts_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_as_python_3_13(monkeypatch)

    context = tls_of(Certified(tmp_path).login)

    assert not context.verify_flags & (ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
