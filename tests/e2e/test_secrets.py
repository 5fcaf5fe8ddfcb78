"""A password is written down nowhere, however the login ends."""

from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import password_of
from tests.e2e.parts import Homeserver, by_email, token_path
from tools.gate import Gate, Mode
from tools.service import Service

pytestmark = pytest.mark.e2e

WRONG = "canary-wrong-8d1e7"


def files_with(directory: Path, *needles: bytes) -> list[str]:
    """Return which files below hold one of these."""
    return [
        path.name
        for path in sorted(directory.rglob("*"))
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]


def test_a_canary_is_found_nowhere(homeserver: Homeserver, service: Service, gate: Gate) -> None:
    right = password_of("canary")
    for mode in (Mode.OPEN, Mode.SHUT, Mode.GARBAGE, Mode.WRONG_TOKEN, Mode.HUNG):
        gate.mode = mode
        for identifier in ({"type": "m.id.user", "user": "canary"}, by_email("canary@x.org")):
            for password in (right, WRONG):
                homeserver.log_in(identifier, password)
    gate.mode = Mode.OPEN
    login = homeserver.log_in("canary", right)
    assert login.status_code == 200
    homeserver.delete_device(login.json(), WRONG)
    homeserver.delete_device(login.json(), right)
    refused = httpx.post(
        f"{service.address}/v1/credentials/check",
        json={"password": right},
        headers={"Authorization": f"Bearer {token_path(service).read_text().strip()}"},
    )
    assert refused.status_code == 400
    metrics = [
        httpx.get(f"{service.address}/metrics").text,
        httpx.get(f"{homeserver.url}/_synapse/metrics").text,
    ]

    assert all("# HELP" in text for text in metrics)
    needles = (right.encode(), WRONG.encode())
    assert files_with(homeserver.config.directory, *needles) == []
    assert files_with(service.directory, *needles) == []
    assert not any(
        needle.decode() in text for needle in needles for text in [*metrics, refused.text]
    )


def test_the_search_would_find_one(homeserver: Homeserver, service: Service) -> None:
    """The canary test looks where it should: what may be written down is found there."""
    homeserver.log_in("canary", password_of("canary"))

    assert "homeserver.log" in files_with(homeserver.config.directory, b"canary")
    # the database itself, or the log of what is on its way into it
    found = files_with(homeserver.config.directory, b"canary")
    assert {"homeserver.db", "homeserver.db-wal"} & set(found)
    assert files_with(service.directory, b"canary@x.org")
    assert files_with(service.directory, b"/v1/credentials/check")


def test_a_token_is_in_its_file_only(homeserver: Homeserver, service: Service) -> None:
    secret = token_path(service).read_bytes().strip().rpartition(b"_")[2]

    assert files_with(service.directory, secret) == ["token"]
    assert files_with(homeserver.config.directory, secret) == []
