"""The contract: strict towards callers, tolerant towards services, silent about secrets."""

import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from lalepass_wire import (
    Accepted,
    CheckRequest,
    RefusalReason,
    Refused,
    UserIdentifier,
    limits,
    parse_answer,
    parse_caller,
)

CANARY = "canary-7f3a"
ALICE = {"kind": "user", "localpart": "alice"}


def request(**change: Any) -> bytes:
    body = {"identifier": ALICE, "password": CANARY, **change}
    return json.dumps({key: value for key, value in body.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "identifier",
    [
        ALICE,
        {"kind": "user", "localpart": "a.b_c=d-e/f+g"},
        {"kind": "email", "address": "alice@example.org"},
        {"kind": "email", "address": "müller@bücher.example"},
        {"kind": "phone", "number": "491701234567"},
    ],
    ids=str,
)
def test_a_request_survives_the_way_there(identifier: dict[str, str]) -> None:
    parsed = CheckRequest.model_validate_json(request(identifier=identifier))

    assert CheckRequest.model_validate_json(parsed.model_dump_json()) == parsed
    assert parsed.password.get_secret_value() == CANARY


@pytest.mark.parametrize(
    "change",
    [
        {"identifier": ...},
        {"identifier": None},
        {"identifier": "alice"},
        {"identifier": {}},
        {"identifier": {"localpart": "alice"}},
        {"identifier": {"kind": "uid", "localpart": "alice"}},
        {"identifier": {"kind": "user", "localpart": ""}},
        {"identifier": {"kind": "user", "localpart": "Alice"}},
        {"identifier": {"kind": "user", "localpart": "@alice:hs"}},
        {"identifier": {"kind": "user", "localpart": "alice\n"}},
        {"identifier": {"kind": "user", "localpart": "a" * 253}},
        {"identifier": {"kind": "user", "localpart": ["alice"]}},
        {"identifier": {**ALICE, "address": "alice@example.org"}},
        {"identifier": {"kind": "email", "address": "alice"}},
        {"identifier": {"kind": "email", "address": "a@b@c"}},
        {"identifier": {"kind": "email", "address": "a b@c.org"}},
        {"identifier": {"kind": "email", "address": "a@" + "b" * 253}},
        {"identifier": {"kind": "phone", "number": "+491701234567"}},
        {"identifier": {"kind": "phone", "number": 491701234567}},
        {"password": ...},
        {"password": None},
        {"password": ""},
        {"password": 12345678},
        {"password": [CANARY]},
        {"password": "a\0b"},
        {"password": "x" * (limits.MAX_PASSWORD_LENGTH + 1)},
        {"source": {"ip": "localhost"}},
        {"source": {"ip": "1.2.3.4.5"}},
        {"source": {"ip": "fe80::1%eth0"}},
        {"source": {"ip": "fe80::1%" + "z" * 9000}},
        {"source": {"ip": 16909060}},
        {"source": {"user_agent": "x" * 513}},
        {"source": {"port": 1}},
        {"pasword": CANARY},
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_request_that_is_not_of_the_contract_is_refused_without_repeating_it(
    change: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError) as refused:
        CheckRequest.model_validate_json(request(**change))

    assert CANARY not in str(refused.value)
    assert CANARY not in repr(refused.value)


def test_a_password_is_printed_nowhere_but_in_the_body() -> None:
    check = CheckRequest(identifier=UserIdentifier(localpart="alice"), password=SecretStr(CANARY))

    assert CANARY not in f"{check} {check!r} {check.model_dump()}"
    assert CANARY in check.model_dump_json()


def test_the_longest_valid_request_fits_under_the_cap() -> None:
    body = json.dumps(
        {
            "identifier": {"kind": "email", "address": "😀" * 126 + "@" + "😀" * 127},
            "password": "😀" * limits.MAX_PASSWORD_LENGTH,
            "source": {
                "ip": "2001:db8:1111:2222:3333:4444:5555:6666",
                "user_agent": "😀" * limits.MAX_USER_AGENT_LENGTH,
            },
        }
    ).encode()

    CheckRequest.model_validate_json(body)
    assert len(body) <= limits.MAX_REQUEST_BYTES


def answer(**body: Any) -> Accepted | Refused:
    return parse_answer(json.dumps(body).encode())


def test_an_answer_of_a_newer_service_is_understood() -> None:
    user = {"id": "1", "localpart": "alice", "groups": ["staff"]}

    accepted = answer(result="accepted", user=user, session_epoch=3)

    assert isinstance(accepted, Accepted)
    assert accepted.user.emails == ()


@pytest.mark.parametrize("reason", ["expired", "", 7, None, ["disabled"], {"a": 1}])
def test_a_reason_of_a_newer_service_is_a_refusal_like_any_other(reason: object) -> None:
    assert answer(result="refused", reason=reason) == Refused(reason=RefusalReason.CREDENTIALS)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"result": "yes"},
        {"result": True, "user": {"id": "1", "localpart": "alice"}},
        {"result": "accepted"},
        {"result": "accepted", "user": {"localpart": "alice"}},
        {"result": "accepted", "user": {"id": "1"}},
        {"result": "accepted", "user": {"id": "1", "localpart": "@alice:hs"}},
        {"result": "accepted", "user": {"id": "1", "localpart": "alice", "admin": "certainly"}},
        {"user": {"id": "1", "localpart": "alice"}},
    ],
    ids=str,
)
def test_what_is_neither_yes_nor_no_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        answer(**body)


def caller(**change: Any) -> bytes:
    body = {
        "name": "hs",
        "scopes": ["check"],
        "service_version": "0.1.0",
        "server_time": "2026-11-23T08:28:10Z",
        **change,
    }
    return json.dumps({key: value for key, value in body.items() if value is not ...}).encode()


def test_a_newer_service_may_tell_a_caller_more() -> None:
    facts = parse_caller(caller(scopes=["check", "telepathy"], mood="good"))

    assert facts.scopes == ("check", "telepathy")


@pytest.mark.parametrize(
    "change",
    [
        {"name": ...},
        {"name": ""},
        {"name": "x" * 65},
        {"scopes": "check"},
        {"scopes": [1]},
        {"service_version": None},
        {"service_version": "x" * 65},
        {"server_time": "2026-11-23T08:28:10"},
        {"server_time": "noon"},
        {"server_time": ...},
    ],
    ids=str,
)
def test_what_says_no_caller_is_no_answer(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse_caller(caller(**change))
