"""What all that is asked over TLS has in common."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from lalepass_service.topology.wires import tls_of
from tests.lalepass_service.topology.certified import Certified


def test_it_is_no_stricter_than_the_parts_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standard = ssl.create_default_context
    more = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN

    def as_of_python_3_13(**files: Any) -> ssl.SSLContext:
        context = standard(**files)
        context.verify_flags |= more
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_of_python_3_13)

    context = tls_of(Certified(tmp_path).login)

    assert not context.verify_flags & more
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
