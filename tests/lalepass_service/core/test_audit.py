"""An entry of the trail: who stands for an act, and how it is told to others."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from lalepass_service.core.audit import DONE, Actor, Entry, Event, document
from lalepass_service.core.model import UserId
from tests.lalepass_service.accounts import CHECKED, NOW

ENTRY = replace(CHECKED, details={"since": "then", "count": 2})


def test_an_act_is_of_who_did_it_with_what_is_known_of_both() -> None:
    by = Actor(name="operator:root", facts={"behind": "alice", "old": 1})

    assert by.act(
        Event.USER_EDITED,
        at=NOW,
        user_id=UserId("id-bob"),
        localpart="bob",
        details={"old": 2},
    ) == Entry(
        at=NOW,
        event=Event.USER_EDITED,
        outcome=DONE,
        actor="operator:root",
        user_id=UserId("id-bob"),
        localpart="bob",
        details={"behind": "alice", "old": 2},
    )


def test_an_act_may_be_about_nobody() -> None:
    assert Actor(name="operator:root").act(Event.KEY_ADDED, at=NOW) == Entry(
        at=NOW, event=Event.KEY_ADDED, outcome=DONE, actor="operator:root"
    )


def test_a_document_has_every_field_by_its_name_and_its_details_in_order() -> None:
    told = document(ENTRY)

    assert told == {
        "at": "2026-01-02T03:04:05.678+00:00",
        "event": "check",
        "outcome": "accepted",
        "actor": "synapse",
        "user_id": "id-alice",
        "localpart": "alice",
        "source_ip": "192.0.2.1",
        "user_agent": "Element",
        "request_id": "POST-1",
        "details": {"count": 2, "since": "then"},
    }
    assert list(told["details"]) == ["count", "since"]  # type: ignore[call-overload] # a mapping


def test_a_document_is_in_utc() -> None:
    elsewhere: datetime = NOW.astimezone(timezone(timedelta(hours=5)))

    assert document(replace(ENTRY, at=elsewhere)) == document(ENTRY)
