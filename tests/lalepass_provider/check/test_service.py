"""What the doctor makes of the answers of a service."""

import json
import socket
import ssl
from http.client import BadStatusLine
from typing import Any

import pytest
from pydantic import SecretStr

from lalepass_provider.check import service
from lalepass_provider.check.asking import Answer, Exchange, Target
from lalepass_provider.check.finding import Finding
from tests.lalepass_provider.check.found import names, only

NOW = 1_795_422_490.0  # 2026-11-23T08:28:10Z
FACTS = {
    "name": "my-homeserver",
    "scopes": ["check", "feed"],
    "service_version": "0.1.7",
    "server_time": "2026-11-23T08:28:10Z",
}
TARGET = Target(address="https://auth.example.org", token=SecretStr("token-canary"), seconds=5)


def answer(status: int = 200, body: Any = FACTS, *, date: str = "", **facts: float) -> Answer:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    facts = {"asked_at": NOW, "uncertain": 0.01, **facts}
    return Answer(status=status, body=body, date=date, **facts)


def look(**exchange: Any) -> list[Finding]:
    found = Exchange(**{"ready": answer(body={"status": "ready"}), "caller": answer(), **exchange})
    targets = [("modules[0].config.url", TARGET)]
    findings = list(
        service.look(
            targets,
            scopes=("check", "feed"),
            module_version="0.1.0",
            ask=lambda _: found,
            now=NOW,
        )
    )
    assert "token-canary" not in repr(findings)
    assert all(finding.option == "modules[0].config.url" for finding in findings)
    return findings


def test_all_is_well() -> None:
    found = look()

    assert names(found) == []
    assert only(found, "token").says == (
        "https://auth.example.org takes this homeserver for 'my-homeserver'; scopes: check, feed."
    )
    assert {finding.name for finding in found} == {"ready", "token", "versions", "clocks"}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError("x"), "it takes too long"),
        (socket.gaierror(-2, "Name or service not known"), "its name can't be resolved"),
        (ssl.SSLCertVerificationError(1, "x"), "its certificate is not trusted"),
        (ssl.SSLError(1, "x"), "TLS fails"),
        (ValueError("x"), "it is no HTTP"),
        (BadStatusLine("x"), "it is no HTTP"),
        (OSError(), "OSError"),
        (TypeError("x"), "it could not be asked (TypeError)"),
        (RuntimeError("can't start new thread"), "it could not be asked (RuntimeError)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_keeps_an_answer_away_is_explained(fault: Exception, words: str) -> None:
    if isinstance(fault, ssl.SSLCertVerificationError):
        fault.verify_message = "certificate has expired"
    found = look(ready=None, caller=None, fault=fault)

    assert names(found) == ["unreachable"]
    assert words in found[0].says


def test_an_exchange_that_came_to_nothing_is_an_error() -> None:
    """Whatever ended it, silence would read as if all were well."""
    assert names(look(ready=None, caller=None)) == ["unreachable"]
    assert names(look(caller=None)) == ["unreachable"]


@pytest.mark.parametrize("status", [204, 302, 404, 500])
def test_who_does_not_know_whether_it_is_ready_is_not(status: int) -> None:
    found = look(ready=answer(status, b""))

    assert names(found) == ["not-ready"]
    assert str(status) in found[0].says


def test_a_service_that_is_not_ready_is_told_from_a_wrong_token() -> None:
    found = look(ready=answer(503, {}), caller=answer(503, {}))

    assert names(found) == ["not-ready", "not-told"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_service_that_can_not_say_just_now_is_not_taken_for_something_else(status: int) -> None:
    """What has too much to do has the right address, and needs no upgrade."""
    found = look(caller=answer(status, b"<html>"))

    assert names(found) == ["not-told"]
    assert f"(status {status})" in found[-1].says


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_token_is_an_error(status: int) -> None:
    assert names(look(caller=answer(status, {}))) == ["token-rejected"]


@pytest.mark.parametrize(
    "caller",
    [answer(404, {}), answer(302, b""), answer(200, b"<html>"), answer(200, {}), answer(200, b"")],
    ids=["404", "302", "html", "other json", "empty"],
)
def test_something_else_is_an_error(caller: Answer) -> None:
    assert names(look(caller=caller)) == ["no-service"]


@pytest.mark.parametrize("scopes", [[], ["feed"], ["another"]], ids=str)
def test_a_token_for_something_else_is_an_error(scopes: list[str]) -> None:
    assert names(look(caller=answer(body={**FACTS, "scopes": scopes}))) == ["scope-missing"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.1.0", []), ("0.1.99", []), ("0.2.0", ["versions-differ"]), ("1.1", ["versions-differ"])],
)
def test_both_halves_should_be_of_one_release(version: str, expected: list[str]) -> None:
    assert names(look(caller=answer(body={**FACTS, "service_version": version}))) == expected


@pytest.mark.parametrize(
    ("behind", "uncertain", "expected"),
    [
        (0, 0.0, []),
        (4, 0.0, []),
        (-4, 0.0, []),
        (6, 0.0, ["clocks-differ"]),
        (-6, 0.0, ["clocks-differ"]),
        # A slow answer says little about the clock.
        (6, 2.0, []),
        (3600, 2.0, ["clocks-differ"]),
    ],
)
def test_clocks_should_be_in_step(behind: float, uncertain: float, expected: list[str]) -> None:
    caller = answer(asked_at=NOW + behind, uncertain=uncertain)

    assert names(look(caller=caller)) == expected


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("Mon, 23 Nov 2026 09:28:10 GMT", "a Date header says 2026-11-23 09:28:10 UTC"),
        ("yesterday", "3600 s apart."),
        ("", "3600 s apart."),
        ("Fri, 31 Dec 9999 23:59:59 -1400", "3600 s apart."),
    ],
)
def test_a_third_clock_may_tell_whose_is_wrong(date: str, words: str) -> None:
    found = look(caller=answer(asked_at=NOW + 3600, date=date))

    assert words in only(found, "clocks-differ").says


def test_a_fault_behind_the_answers_is_none() -> None:
    assert names(look(fault=ConnectionResetError())) == []


def test_without_the_feed_people_log_in_and_nobody_is_locked_out() -> None:
    found = look(caller=answer(body={**FACTS, "scopes": ["check"]}))

    assert names(found) == ["feed-missing"]
