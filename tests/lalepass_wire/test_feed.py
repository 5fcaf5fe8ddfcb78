"""The feed's contract: tolerant answers, strict requests, and what is not known is not active."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from lalepass_wire import limits
from lalepass_wire.feed import (
    Account,
    AccountState,
    Acknowledgement,
    Changes,
    Report,
    Reports,
)

ALICE: dict[str, Any] = {"id": "1", "localpart": "alice", "state": "active"}
REPORT: dict[str, Any] = {
    "id": "0123456789abcdef",
    "kind": "signed_in",
    "localpart": "alice",
    "at": "2026-01-02T03:04:05Z",
}


@pytest.mark.parametrize(
    ("state", "locked"),
    [("active", False), ("disabled", True), ("deleted", True), ("frozen", True), (7, True)],
)
def test_a_state_that_is_not_known_is_not_active(state: object, *, locked: bool) -> None:
    assert Account.model_validate({**ALICE, "state": state}).locked is locked


def test_an_unknown_state_is_taken_for_disabled_and_not_for_deleted() -> None:
    assert Account.model_validate({**ALICE, "state": "frozen"}).state is AccountState.DISABLED


def test_a_newer_service_may_say_more() -> None:
    answer = {"cursor": "ab12-7", "accounts": [{**ALICE, "shoe_size": 43}], "weather": "fine"}

    changes = Changes.model_validate_json(json.dumps(answer))

    assert changes.cursor == "ab12-7"
    assert [account.localpart for account in changes.accounts] == ["alice"]


@pytest.mark.parametrize(
    "cursor", ["", "7", "-7", "ab-", "ab-x", "AB-7", "ab-7 ", "ab-7\n", f"ab-{'9' * 20}", "a" * 60]
)
def test_what_is_no_cursor(cursor: str) -> None:
    with pytest.raises(ValidationError):
        Changes.model_validate({"cursor": cursor})


def test_an_answer_with_more_accounts_than_agreed_is_broken() -> None:
    accounts = [ALICE] * (limits.MAX_CHANGES + 1)

    with pytest.raises(ValidationError):
        Changes.model_validate({"cursor": "a-1", "accounts": accounts})


@pytest.mark.parametrize(
    "change",
    [
        {"id": "short"},
        {"id": "0123456789abcde/"},
        {"kind": "sang"},
        {"localpart": "Alice"},
        {"at": "2026-01-02T03:04:05"},
        {"at": "yesterday"},
        {"device_id": ""},
        {"device_id": "x" * 256},
        {"source": {"ip": "nowhere"}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_report_is_strict(change: dict[str, Any]) -> None:
    Report.model_validate_json(json.dumps(REPORT))

    with pytest.raises(ValidationError):
        Report.model_validate_json(json.dumps({**REPORT, **change}))


@pytest.mark.parametrize("count", [0, limits.MAX_REPORTS + 1])
def test_a_batch_of_reports_has_a_size(count: int) -> None:
    with pytest.raises(ValidationError):
        Reports.model_validate_json(json.dumps({"reports": [REPORT] * count}))


@pytest.mark.parametrize("orders", [[], [""], ["x" * 65], ["x"] * 101])
def test_an_acknowledgement_names_orders(orders: list[str]) -> None:
    with pytest.raises(ValidationError):
        Acknowledgement.model_validate_json(json.dumps({"orders": orders}))
