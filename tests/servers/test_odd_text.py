"""What people and programs send to a service on PostgreSQL, which takes less text than a file."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from lalepass_wire import paths
from tests.servers.services import services

PASSWORD = "correct horse battery"
_ODD = ("\0", "a\0b", "\ud800", "\uffff", "\U0010ffff", "\u202e", "'; --", "%s$1?", "\\", "{}")


def _check(**fields: Any) -> dict[str, Any]:
    named = {"kind": "user", "localpart": "alice"}
    return {"identifier": named, "password": PASSWORD} | fields


def _report(number: int, **fields: Any) -> dict[str, Any]:
    kind = {"id": f"{number:016}", "kind": "signed_in", "localpart": "alice"}
    return {"reports": [kind | {"at": "2026-01-02T03:00:00Z", "device_id": "PHONE"} | fields]}


def _requests(text: str, number: int) -> list[tuple[str, dict[str, Any]]]:
    return [
        (paths.CHECK_CREDENTIALS, _check(source={"user_agent": text})),
        (
            paths.CHECK_CREDENTIALS,
            _check(identifier={"kind": "user", "localpart": "bob"}, password=text),
        ),
        (paths.CHECK_CREDENTIALS, _check(identifier={"kind": "user", "localpart": text})),
        (
            paths.CHECK_CREDENTIALS,
            _check(identifier={"kind": "email", "address": f"{text}@example.org"}),
        ),
        (paths.REPORTS, _report(2 * number, device_id=text)),
        (paths.REPORTS, _report(2 * number + 1, source={"user_agent": text})),
        (paths.ACKNOWLEDGE_ORDERS, {"orders": [text]}),
    ]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_odd_text_is_taken_or_refused_and_never_a_failure(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The same on both, so that what is tried out on one holds on the other."""
    settings = {}
    if kind == "postgresql":
        settings = request.getfixturevalue("postgres_database").settings
    with services(tmp_path, count=1, settings=settings, people={"alice": PASSWORD}) as one:
        headers = {"Authorization": f"Bearer {one.token}", "Content-Type": "application/json"}
        with httpx.Client(base_url=one.replicas[0].url, headers=headers, timeout=30) as client:
            statuses: dict[tuple[str, int], int] = {}
            for number, text in enumerate(_ODD):
                for place, (path, body) in enumerate(_requests(text, number)):
                    # httpx would not write a lone surrogate; a program in C may
                    answer = client.post(path, content=json.dumps(body))
                    statuses[text, place] = answer.status_code

    # 429: that account was guessed at often enough
    assert set(statuses.values()) <= {200, 400, 429}
    refused = {where for where, status in statuses.items() if status == 400}
    for text in _ODD:
        # What is only noted down is taken, unless it is no text at all.
        noted = {(text, place) for place in (0, 4, 5, 6)}
        assert noted & refused == (noted if text == "\ud800" else set()), text
        assert all(statuses[text, place] in {200, 400} for place in (0, 4, 5, 6))
