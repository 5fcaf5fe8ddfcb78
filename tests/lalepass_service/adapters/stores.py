"""Stores to run one contract suite on, and what is put into them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lalepass_service.adapters.memory import MemoryCallers, MemorySoftLocks, MemoryUsers
from lalepass_service.adapters.sql.audit import SqlTrail
from lalepass_service.adapters.sql.callers import SqlCallers
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.hot import HotPath
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.audit import Entry
from lalepass_service.core.model import (
    Caller,
    PasswordRecord,
    Scope,
    User,
    UserId,
    UserState,
)
from lalepass_service.core.ports import Callers, SoftLocks, Users
from tests.lalepass_service.accounts import NOW

RECORD, NEWER_RECORD = PasswordRecord("$first$"), PasswordRecord("$second$")
LATER = NOW + timedelta(days=1)
NOBODY = UserId("id-nobody")
DIGEST = bytes(range(32))

ALICE = User(
    id=UserId("id-alice"),
    localpart="alice",
    display_name="Alice \U0001f600",
    emails=("z@example.org", "a@example.org", "m@example.org"),
    phones=("491701234567", "12025550123"),
    state=UserState.ACTIVE,
    admin=True,
    created_at=NOW,
    password_changed_at=LATER,
)


@dataclass(frozen=True)
class Stores:
    """Those of one installation."""

    users: Users
    callers: Callers
    locks: SoftLocks
    acts: Callable[[], Awaitable[list[Entry]]]
    """Reads the entries that were written into the trail."""
    copies: list[Entry]
    """What was copied."""


def in_memory() -> Stores:
    users, callers, locks = MemoryUsers(), MemoryCallers(), MemorySoftLocks()

    async def acts() -> list[Entry]:
        return [*users.acts, *callers.acts, *locks.acts]

    return Stores(users=users, callers=callers, locks=locks, acts=acts, copies=[])


@asynccontextmanager
async def in_sqlite(path: Path, *, hot: bool) -> AsyncIterator[Stores]:
    """Open stores on a database. Without `hot`, checks go the way that operators go."""
    upgrade(path)
    database = Database.open(path)
    fast = HotPath.open(path)
    copies: list[Entry] = []
    copy = copies.append

    async def acts() -> list[Entry]:
        return [entry for _, entry in await SqlTrail(fast).entries()]

    way = fast if hot else None
    yield Stores(
        users=SqlUsers(database, hot=way, copy=copy),
        callers=SqlCallers(database, way, copy=copy),
        locks=SqlSoftLocks(fast, copy=copy),
        acts=acts,
        copies=copies,
    )
    await fast.close()
    await database.close()


def a_caller(number: int = 1, *, name: str = "synapse", hours: int = 0) -> Caller:
    return Caller(
        token_id=f"{number:012x}",
        name=name,
        scopes=frozenset({Scope.CHECK, Scope.FEED}),
        created_at=NOW + timedelta(hours=hours),
    )
