"""What every store of accounts does: what is known of a person changes."""

from dataclasses import replace
from functools import partial

import pytest

from lalepass_service.core.errors import AlreadyTaken, InvalidInput
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone
from lalepass_service.core.model import User
from lalepass_service.core.ports import Users
from tests.lalepass_service.accounts import ACT, a_user
from tests.lalepass_service.adapters.stores import ALICE, NOBODY, RECORD

pytestmark = pytest.mark.anyio

OTHER = replace(
    ALICE,
    display_name=None,
    emails=("new@example.org", "z@example.org"),
    phones=(),
    admin=False,
)


def _become(new: User, _old: User) -> User:
    return new


async def test_a_person_is_changed_and_nothing_else(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    bob = a_user("bob", emails=("bob@x",))
    await users.add(bob, None, reuse_name=False, act=ACT)

    assert await users.edit(ALICE.id, lambda _: OTHER, act=ACT) is True

    found = await users.credentials(ByLocalpart("alice"))
    assert found is not None
    assert (found.user, found.record) == (OTHER, RECORD)
    assert await users.find(ByLocalpart("bob")) == bob
    assert await users.find(ByEmail("new@example.org")) == OTHER
    for gone in (ByEmail("a@example.org"), ByPhone("12025550123")):
        assert await users.find(gone) is None


async def test_the_change_is_of_what_is_there_then(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    seen: list[User] = []

    def change(user: User) -> User:
        seen.append(user)
        return user

    assert await users.edit(ALICE.id, change, act=ACT) is False
    assert await users.edit(NOBODY, change, act=ACT) is None
    assert seen == [ALICE]


async def test_what_another_account_has_is_not_taken_from_it(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    bob = a_user("bob", emails=("bob@x",), phones=("4930123456",))
    await users.add(bob, None, reuse_name=False, act=ACT)

    for mine, what in (
        (replace(OTHER, emails=("new@x", "bob@x")), "e-mail address"),
        (replace(OTHER, phones=("4930123456",)), "phone number"),
    ):
        with pytest.raises(AlreadyTaken) as caught:
            await users.edit(ALICE.id, partial(_become, mine), act=ACT)
        assert caught.value.what == what

    assert await users.find(ByLocalpart("alice")) == ALICE


async def test_a_change_that_is_refused_changes_nothing(users: Users) -> None:
    await users.add(ALICE, RECORD, reuse_name=False, act=ACT)

    def refuse(_: User) -> User:
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        await users.edit(ALICE.id, refuse, act=ACT)

    assert await users.find(ByLocalpart("alice")) == ALICE
