"""A change and its entry are one transaction: whatever fails, and whoever is killed when."""

import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lalepass_service.core.audit import Event
from lalepass_service.core.errors import NoAnswer
from tests.lalepass_service.adapters.killing import NOTES, Nursery, notes, rounds
from tests.lalepass_service.adapters.sql.faults import no_file_grows
from tests.lalepass_service.adapters.stores import Stores, in_sqlite
from tests.lalepass_service.adapters.test_acts import (
    CHANGES,
    NO_CHANGES,
    acts_after,
    an_act,
    settle,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stores(path: Path) -> AsyncIterator[Stores]:
    async with in_sqlite(path, hot=True) as stores:
        yield stores


def content(path: Path) -> list[str]:
    """Everything that is in the database but the trail."""
    with closing(sqlite3.connect(path)) as database:
        return [line for line in database.iterdump() if '"audit"' not in line]


@pytest.mark.parametrize("event", CHANGES)
async def test_without_its_entry_there_is_no_change(
    stores: Stores, event: Event, path: Path
) -> None:
    await settle(stores)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE audit RENAME TO elsewhere")
        before = content(path)

        with pytest.raises(NoAnswer):
            await CHANGES[event](stores, an_act(event))

        assert content(path) == before
        other.execute("ALTER TABLE elsewhere RENAME TO audit")

    act = an_act(event)
    assert await acts_after(stores, CHANGES[event], act) == [act]
    assert content(path) != before


@pytest.mark.parametrize("event", CHANGES)
async def test_a_change_that_is_not_written_has_no_entry(
    stores: Stores, event: Event, path: Path
) -> None:
    await settle(stores)
    before, acts = content(path), await stores.acts()
    copied = len(stores.copies)

    with no_file_grows(), pytest.raises(NoAnswer):
        await CHANGES[event](stores, an_act(event))

    assert (content(path), await stores.acts()) == (before, acts)
    assert len(stores.copies) == copied


async def test_every_entry_is_copied_once_it_is_written(stores: Stores) -> None:
    await settle(stores)
    stores.copies.clear()
    acts = [an_act(event) for event in CHANGES]

    for change in NO_CHANGES.values():
        await change(stores, an_act(Event.USER_ADDED))
    for act, event in zip(acts, CHANGES, strict=True):
        await CHANGES[event](stores, act)

    assert stores.copies == acts


# Does everything to one account after another, and to a token for each.
_WORK = (
    NOTES
    + """
import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4
from lalepass_service.adapters.sql.callers import SqlCallers
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.audit import Actor, Event
from tests.lalepass_service.paying import debit
from lalepass_service.core.model import Caller, PasswordRecord, Scope, User, UserId, UserState

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RECORD = PasswordRecord("$")

async def everything(users, locks, callers, note):
    name = str(uuid4())
    user = User(id=UserId(name), localpart=name, created_at=NOW)

    def act(event):
        return Actor(name="operator:root").act(event, at=NOW, user_id=user.id)

    await users.add(user, None, reuse_name=False, act=act(Event.USER_ADDED))
    note(name, Event.USER_ADDED)
    await users.set_password(user.id, RECORD, changed_at=NOW, act=act(Event.PASSWORD_SET))
    note(name, Event.PASSWORD_SET)
    await debit(locks, user.id, source=b"", guess=b"g" * 16, now=NOW)
    await users.set_state(user.id, UserState.DISABLED, act=act(Event.USER_DISABLED))
    note(name, Event.USER_DISABLED)
    await locks.unlock(user.id, act=act(Event.USER_UNLOCKED), now=NOW)
    note(name, Event.USER_UNLOCKED)
    caller = Caller(token_id=name, name=name, scopes=frozenset(Scope), created_at=NOW)
    await callers.add(caller, b"d", limit=2, act=act(Event.TOKEN_CREATED))
    note(name, Event.TOKEN_CREATED)
    await callers.revoke(name, at=NOW, act=act(Event.TOKEN_REVOKED))
    note(name, Event.TOKEN_REVOKED)
    await users.delete(user.id, now=lambda: NOW, act=act(Event.USER_DELETED))
    note(name, Event.USER_DELETED)

async def main(path, note):
    database, hot = Database.open(path), HotPath.open(path)
    stores = SqlUsers(database, reads=hot), SqlSoftLocks(hot), SqlCallers(database, hot)
    for _ in range(4):
        await everything(*stores, note)

def work(path, notes):
    asyncio.run(main(Path(path), taking_notes(notes)))
"""
)


def _read(database: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    return database.execute(query).fetchall()


def _check(path: Path) -> set[tuple[str, ...]]:
    """Compare what is there with what is in the trail, and return the latter."""
    with closing(sqlite3.connect(path)) as database:
        events: defaultdict[str, list[str]] = defaultdict(list)
        for event, name in _read(database, "SELECT event, user_id FROM audit ORDER BY id"):
            events[name].append(event)
        there = dict(_read(database, "SELECT id, state FROM users"))
        with_password = {name for (name,) in _read(database, "SELECT user_id FROM passwords")}
        locked = {name for (name,) in _read(database, "SELECT account FROM lanes")}
        tokens = dict(_read(database, "SELECT id, revoked_at IS NOT NULL FROM tokens"))
        retired = {name for (name,) in _read(database, "SELECT localpart FROM retired_names")}
    assert there.keys() | retired == events.keys()
    for name, done in events.items():
        assert len(done) == len(set(done)), "an entry is there twice"
        assert (name in retired) == (name not in there) == ("user_deleted" in done)
        assert (name in tokens) == ("token_created" in done)
        assert bool(tokens.get(name)) == ("token_revoked" in done)
        if name in there:
            assert (name in with_password) == ("password_set" in done)
            assert (there[name] == "disabled") == ("user_disabled" in done)
        if "user_disabled" in done:
            # It had been locked before that.
            assert (name in locked) != ("user_unlocked" in done)
    return {(name, event) for name, done in events.items() for event in done}


@pytest.mark.timeout(600)
def test_kill_9_loses_no_acknowledged_change_and_parts_none_from_its_entry(path: Path) -> None:
    with Nursery(_WORK, path, path.parent / "notes") as nursery:
        for delay in rounds(longest=nursery.whole()):
            nursery.kill_after(delay)
            assert set(notes(path.parent / "notes")) <= _check(path)
