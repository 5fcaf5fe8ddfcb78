from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lalepass_service.core.editing import MAX_ADDRESSES, Edit, NewUser, is_same
from lalepass_service.core.errors import InvalidInput
from lalepass_service.core.model import User, UserId, UserState
from lalepass_wire import limits
from tests.lalepass_service.accounts import NOW, a_user

ALICE = replace(
    a_user("alice", emails=("a@x", "b@x"), phones=("491701234567",)), display_name="Alice"
)
LATER = NOW + timedelta(days=1)
MANY = tuple(f"{number}@x" for number in range(MAX_ADDRESSES))
MANY_PHONES = tuple(f"+49170{number:07}" for number in range(MAX_ADDRESSES))


def test_the_contract_knows_as_many_addresses() -> None:
    assert limits.MAX_EMAILS == limits.MAX_PHONES == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit(), ALICE),
        (Edit(display_name=" Al "), replace(ALICE, display_name="Al")),
        (Edit(display_name=""), replace(ALICE, display_name=None)),
        (Edit(admin=True), replace(ALICE, admin=True)),
        (Edit(admin=False), ALICE),
        (Edit(add_emails=["C@X"]), replace(ALICE, emails=("a@x", "b@x", "c@x"))),
        (Edit(add_emails=["B@x", "b@x"]), ALICE),
        (Edit(remove_emails=["A@x"]), replace(ALICE, emails=("b@x",))),
        (Edit(remove_emails=["a@x"], add_emails=["a@x"]), replace(ALICE, emails=("b@x", "a@x"))),
        (Edit(remove_phones=["+49 170 1234567"]), replace(ALICE, phones=())),
        (
            Edit(add_phones=["+1 202 555 0123"]),
            replace(ALICE, phones=("491701234567", "12025550123")),
        ),
    ],
    ids=str,
)
def test_only_what_is_asked_for_is_another_way(edit: Edit, expected: User) -> None:
    assert edit.applied(ALICE) == expected


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (Edit(display_name="a\x07"), "a display name has"),
        (Edit(display_name="  "), "a display name has"),
        (Edit(add_emails=["nobody"]), "an e-mail address looks like"),
        (Edit(remove_emails=["nobody"]), "an e-mail address looks like"),
        (Edit(remove_emails=["c@x"]), "the account does not have c@x"),
        (Edit(remove_emails=["a@x", "A@X"]), "the account does not have A@X"),
        (Edit(add_phones=["0170"]), "a phone number is given with"),
        (Edit(remove_phones=["+1 202 555 0123"]), "does not have"),
        (Edit(add_emails=(*MANY[2:], "c@x")), "at most 16 e-mail addresses"),
        (Edit(add_phones=MANY_PHONES), "at most 16 phone numbers"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_what_can_not_be_is_refused(edit: Edit, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        edit.applied(ALICE)


def test_an_address_makes_room_for_another_one() -> None:
    full = replace(ALICE, emails=MANY)

    assert Edit(remove_emails=["0@x"], add_emails=["new@x"]).applied(full).emails[-1] == "new@x"


@pytest.mark.parametrize(
    ("full", "too_many"),
    [
        (
            NewUser(localpart="a", emails=(*MANY, "0@X")),
            NewUser(localpart="a", emails=(*MANY, "new@x")),
        ),
        (
            NewUser(localpart="a", phones=(*MANY_PHONES, "+49-170-0000000")),
            NewUser(localpart="a", phones=(*MANY_PHONES, "+491719999999")),
        ),
    ],
    ids=["emails", "phones"],
)
def test_a_new_account_has_as_many_addresses_at_most(full: NewUser, too_many: NewUser) -> None:
    made = full.canonical(user_id=UserId("1"), created_at=NOW)

    assert len(made.emails + made.phones) == MAX_ADDRESSES
    with pytest.raises(InvalidInput, match="at most 16"):
        too_many.canonical(user_id=UserId("1"), created_at=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"id": UserId("another")},
        {"created_at": LATER},
        {"password_changed_at": LATER},
        {"password_must_change": True},
        {"password_expires_at": LATER},
        {"unlocked_at": LATER},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_done_about_the_password_since_is_no_other_account(change: Any) -> None:
    changed = replace(ALICE, **change)

    assert changed != ALICE
    assert is_same(there=changed, wanted=ALICE)
    assert is_same(there=ALICE, wanted=changed)


@pytest.mark.parametrize(
    "change",
    [
        {"localpart": "bob"},
        {"display_name": "Al"},
        {"emails": ("a@x",)},
        {"phones": ()},
        {"admin": True},
        {"state": UserState.DISABLED},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_says_who_it_is_makes_another_account(change: Any) -> None:
    changed = replace(ALICE, **change)

    assert not is_same(there=changed, wanted=ALICE)
    assert not is_same(there=ALICE, wanted=changed)


def test_the_names_of_what_is_asked_for_are_known() -> None:
    assert Edit().asked() == []
    assert Edit(display_name="", admin=False).asked() == ["display_name", "admin"]
    assert Edit(add_emails=["canary"], remove_phones=["1"]).asked() == [
        "add_emails",
        "remove_phones",
    ]
