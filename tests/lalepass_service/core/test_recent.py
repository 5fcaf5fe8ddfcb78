"""What is remembered of the passwords that were right a moment ago, and for how long."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from lalepass_service.core.model import (
    Credentials,
    NormalForm,
    Password,
    PasswordRecord,
    User,
    UserId,
    UserState,
)
from lalepass_service.core.recent import RecentChecks
from tests.lalepass_service.accounts import NOW

RIGHT, WRONG = Password("correct horse"), Password("Correct horse")
SECONDS = 60

USER = User(
    id=UserId("id-alice"),
    localpart="alice",
    display_name="Alice",
    emails=("a@example.org", "b@example.org"),
    phones=("491701234567",),
    created_at=NOW,
    password_changed_at=NOW,
    password_scheme="argon2id",
)
RECORD = PasswordRecord("$a-record$", stored="wrapped-a-record", scheme="argon2id")
ALICE = Credentials(user=USER, record=RECORD)

OTHER_USER: dict[str, Any] = {
    "id": UserId("id-bob"),
    "localpart": "alicia",
    "display_name": None,
    "emails": ("b@example.org", "a@example.org"),
    "phones": (),
    "state": UserState.DISABLED,
    "admin": True,
    "created_at": NOW - timedelta(days=1),
    "password_changed_at": NOW + timedelta(microseconds=1),
    "password_must_change": True,
    "password_expires_at": NOW + timedelta(days=1),
    "password_scheme": "bcrypt",
    "unlocked_at": NOW,
}
OTHER_RECORD: dict[str, Any] = {
    "phc": "$b-record$",
    "form": NormalForm.NFKC,
    "stored": "wrapped-again",
    "scheme": "argon2id,m=65536",
}
CHANGED = {
    **{
        f"user.{name}": replace(ALICE, user=replace(USER, **{name: to}))
        for name, to in OTHER_USER.items()
    },
    **{
        f"record.{name}": replace(ALICE, record=replace(RECORD, **{name: to}))
        for name, to in OTHER_RECORD.items()
    },
    "record": replace(ALICE, record=None),
    "fault": replace(ALICE, fault="it needs the key k1"),
}


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def recent(seconds: Seconds) -> RecentChecks:
    return RecentChecks(seconds=SECONDS, now=seconds)


def somebody(number: int) -> Credentials:
    return replace(ALICE, user=replace(USER, id=UserId(f"id-{number}")))


def test_what_was_right_is_known_and_nothing_else(recent: RecentChecks) -> None:
    assert not recent.knows(ALICE, RIGHT)
    recent.remember(ALICE, RIGHT)

    assert recent.knows(ALICE, RIGHT)
    assert not recent.knows(ALICE, WRONG)
    assert not recent.knows(somebody(1), RIGHT)
    assert not recent.knows(None, RIGHT)
    # A wrong one drops nothing, or strangers could.
    assert recent.knows(ALICE, RIGHT)


def test_the_password_counts_to_the_letter(recent: RecentChecks) -> None:
    """Foreign hashes fold nothing."""
    recent.remember(ALICE, Password("m\u00fcller"))

    assert not recent.knows(ALICE, Password("mu\u0308ller"))
    assert not recent.knows(ALICE, Password("m\ud800"))


def test_of_everything_in_an_account_the_table_has_another() -> None:
    """Who adds a field has to say here that a change of it is noticed."""
    assert set(OTHER_USER) == {field.name for field in fields(User)}
    assert set(OTHER_RECORD) == {field.name for field in fields(PasswordRecord)}
    assert {name.partition(".")[0] for name in CHANGED} == {
        field.name for field in fields(Credentials)
    }


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
def test_whatever_is_changed_drops_it(recent: RecentChecks, changed: Credentials) -> None:
    recent.remember(ALICE, RIGHT)

    assert not recent.knows(changed, RIGHT)
    if changed.user.id == ALICE.user.id:
        assert len(recent) == 0
        assert not recent.knows(ALICE, RIGHT)


def test_it_is_forgotten_after_its_time_however_often_it_is_asked_for(
    recent: RecentChecks, seconds: Seconds
) -> None:
    recent.remember(ALICE, RIGHT)
    for _ in range(SECONDS - 1):
        seconds.now += 1
        assert recent.knows(ALICE, RIGHT)

    seconds.now += 1
    assert not recent.knows(ALICE, RIGHT)
    assert len(recent) == 0


def test_what_is_old_is_forgotten_though_nobody_asks(
    recent: RecentChecks, seconds: Seconds
) -> None:
    for number in range(10):
        recent.remember(somebody(number), RIGHT)
        seconds.now += 1
    recent.remember(somebody(0), RIGHT)

    recent.forget_old()
    assert len(recent) == 10
    seconds.now += SECONDS - 5
    recent.forget_old()
    assert len(recent) == 5
    assert recent.knows(somebody(0), RIGHT)
    seconds.now += SECONDS
    recent.forget_old()
    assert len(recent) == 0


def test_its_size_is_bounded_and_the_oldest_goes_first(seconds: Seconds) -> None:
    recent = RecentChecks(seconds=SECONDS, max_accounts=3, now=seconds)
    for number in range(3):
        recent.remember(somebody(number), RIGHT)
    recent.remember(somebody(0), RIGHT)
    recent.remember(somebody(3), RIGHT)

    assert len(recent) == 3
    known = [number for number in range(4) if recent.knows(somebody(number), RIGHT)]
    assert known == [0, 2, 3]


def test_there_is_one_password_for_an_account(recent: RecentChecks) -> None:
    recent.remember(ALICE, RIGHT)
    recent.remember(ALICE, WRONG)

    assert len(recent) == 1
    assert recent.knows(ALICE, WRONG)
    assert not recent.knows(ALICE, RIGHT)


def test_without_seconds_nothing_is_remembered() -> None:
    recent = RecentChecks(seconds=0)
    recent.remember(ALICE, RIGHT)

    assert len(recent) == 0
    assert not recent.knows(ALICE, RIGHT)
    recent.forget_old()


def test_the_key_is_another_one_each_time_and_nothing_is_printed() -> None:
    """What is in memory says nothing to who does not have the key, and no print has either."""
    one, other = RecentChecks(seconds=SECONDS), RecentChecks(seconds=SECONDS)
    for recent in (one, other):
        recent.remember(ALICE, RIGHT)

    assert _held(one).isdisjoint(_held(other))
    assert len(_held(one)) == len(_held(other)) > 0
    for held in _held(one):
        assert RIGHT.reveal().encode() not in held
        assert RECORD.phc.encode() not in held
    assert repr(one) == "RecentChecks(1 account)"
    one.remember(somebody(1), RIGHT)
    assert repr(one) == "RecentChecks(2 accounts)"


def _held(recent: RecentChecks) -> set[bytes]:
    """Return all bytes in the entries."""
    entries = vars(recent)["_entries"].values()
    return {part for entry in entries for part in entry if isinstance(part, bytes)}
