"""No change without its entry in the trail, and no entry without its change: in every store."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import pytest

from lalepass_service.core.audit import Actor, Entry, Event
from lalepass_service.core.errors import AlreadyTaken, NameRetired, TooManyTokens
from lalepass_service.core.model import UserId, UserState
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.adapters.stores import (
    ALICE,
    DIGEST,
    LATER,
    NEWER_RECORD,
    NOBODY,
    RECORD,
    Stores,
    a_caller,
)
from tests.lalepass_service.paying import debit

pytestmark = pytest.mark.anyio

Change = Callable[[Stores, Entry], Awaitable[object]]

BOB = a_user("bob")

CHANGES: Final[dict[Event, Change]] = {
    Event.USER_UNLOCKED: lambda stores, act: stores.locks.unlock(ALICE.id, act=act, now=NOW),
    Event.USER_ADDED: lambda stores, act: stores.users.add(
        a_user("carol"), RECORD, reuse_name=False, act=act
    ),
    Event.PASSWORD_SET: lambda stores, act: stores.users.set_password(
        ALICE.id, NEWER_RECORD, changed_at=LATER, act=act
    ),
    Event.USER_DISABLED: lambda stores, act: stores.users.set_state(
        ALICE.id, UserState.DISABLED, act=act
    ),
    Event.USER_EDITED: lambda stores, act: stores.users.edit(
        ALICE.id, lambda user: replace(user, display_name="Al"), act=act
    ),
    Event.USER_SIGNED_OUT: lambda stores, act: stores.users.sign_out(
        ALICE.id, now=standing(LATER), act=act
    ),
    Event.USER_ENABLED: lambda stores, act: stores.users.set_state(
        BOB.id, UserState.ACTIVE, act=act
    ),
    Event.USER_DELETED: lambda stores, act: stores.users.delete(
        ALICE.id, now=standing(LATER), act=act
    ),
    Event.TOKEN_CREATED: lambda stores, act: stores.callers.add(
        a_caller(2), DIGEST, limit=9, act=act
    ),
    Event.TOKEN_REVOKED: lambda stores, act: stores.callers.revoke(
        a_caller(1).token_id, at=LATER, act=act
    ),
}
"""One of each, on what `settle` makes. In this order each of them changes something."""

NO_CHANGES: Final[dict[str, Change]] = {
    "a password for nobody": lambda stores, act: stores.users.set_password(
        NOBODY, RECORD, changed_at=LATER, act=act
    ),
    "nobody disabled": lambda stores, act: stores.users.set_state(
        NOBODY, UserState.DISABLED, act=act
    ),
    "enabled already": lambda stores, act: stores.users.set_state(
        ALICE.id, UserState.ACTIVE, act=act
    ),
    "disabled already": lambda stores, act: stores.users.set_state(
        BOB.id, UserState.DISABLED, act=act
    ),
    "nobody edited": lambda stores, act: stores.users.edit(NOBODY, lambda user: user, act=act),
    "edited to the same": lambda stores, act: stores.users.edit(
        ALICE.id, lambda user: user, act=act
    ),
    "nobody signed out": lambda stores, act: stores.users.sign_out(
        NOBODY, now=standing(LATER), act=act
    ),
    "nobody deleted": lambda stores, act: stores.users.delete(NOBODY, now=standing(LATER), act=act),
    "not locked": lambda stores, act: stores.locks.unlock(BOB.id, act=act, now=NOW),
    "no such token": lambda stores, act: stores.callers.revoke("0" * 12, at=LATER, act=act),
    "revoked already": lambda stores, act: stores.callers.revoke(
        a_caller(7).token_id, at=LATER, act=act
    ),
}

REFUSED: Final[dict[type[Exception], Change]] = {
    AlreadyTaken: lambda stores, act: stores.users.add(
        a_user("carol", emails=ALICE.emails), RECORD, reuse_name=False, act=act
    ),
    NameRetired: lambda stores, act: stores.users.add(
        a_user("gone"), RECORD, reuse_name=False, act=act
    ),
    TooManyTokens: lambda stores, act: stores.callers.add(a_caller(2), DIGEST, limit=1, act=act),
}


async def settle(stores: Stores) -> None:
    """Make Alice, who is locked; Bob, who is disabled; a name that is retired; two tokens."""
    await stores.users.add(ALICE, RECORD, reuse_name=False, act=ACT)
    await debit(stores.locks, ALICE.id, source=b"", guess=b"g" * 16, now=NOW)
    await stores.users.add(BOB, None, reuse_name=False, act=ACT)
    await stores.users.set_state(BOB.id, UserState.DISABLED, act=ACT)
    await stores.users.add(a_user("gone"), None, reuse_name=False, act=ACT)
    await stores.users.delete(a_user("gone").id, now=standing(NOW), act=ACT)
    await stores.callers.add(a_caller(1), DIGEST, limit=9, act=ACT)
    await stores.callers.add(a_caller(7), DIGEST, limit=9, act=ACT)
    await stores.callers.revoke(a_caller(7).token_id, at=NOW, act=ACT)


def an_act(event: Event) -> Entry:
    actor = Actor(name="operator:anna", facts={"sudo_user": "bert"})
    return actor.act(
        event, at=LATER, user_id=UserId("id-x"), localpart="x", details={"why": "ü", "admin": True}
    )


async def acts_after(stores: Stores, change: Change, act: Entry) -> list[Entry]:
    """Return the entries that a change adds to the trail."""
    before = await stores.acts()
    await change(stores, act)
    after = await stores.acts()
    # In memory each store keeps its own, so the order across them says nothing.
    return [entry for entry in after if entry not in before]


@pytest.mark.parametrize("event", CHANGES)
async def test_a_change_leaves_its_entry_as_it_was_given(stores: Stores, event: Event) -> None:
    await settle(stores)
    act = an_act(event)

    assert await acts_after(stores, CHANGES[event], act) == [act]
    assert act.details == {"sudo_user": "bert", "why": "ü", "admin": True}


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
async def test_what_changes_nothing_leaves_no_entry(stores: Stores, change: Change) -> None:
    await settle(stores)

    assert await acts_after(stores, change, an_act(Event.USER_ADDED)) == []


@pytest.mark.parametrize("error", REFUSED)
async def test_what_is_refused_leaves_no_entry(stores: Stores, error: type[Exception]) -> None:
    await settle(stores)
    before = await stores.acts()

    with pytest.raises(error):
        await REFUSED[error](stores, an_act(Event.USER_ADDED))

    assert await stores.acts() == before


async def test_a_part_of_another_act_has_no_entry_of_its_own(stores: Stores) -> None:
    await settle(stores)
    before = await stores.acts()

    assert await stores.locks.unlock(ALICE.id, act=None, now=NOW)

    assert await stores.acts() == before
