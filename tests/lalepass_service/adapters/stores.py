"""Stores to run one contract suite on, and what is put into them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lalepass_service.adapters.memory import MemoryCallers, MemorySoftLocks, MemoryUsers
from lalepass_service.adapters.sql.audit import SqlTrail
from lalepass_service.adapters.sql.callers import SqlCallers
from lalepass_service.adapters.sql.migrate import Store, upgrade
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
from tests.lalepass_service.adapters.databases import opened

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
    """Open stores on a new file. Without `hot`, checks go the way that operators go."""
    upgrade(path)
    async with in_database(path, hot=hot) as stores:
        yield stores


@asynccontextmanager
async def in_database(store: Store, *, hot: bool) -> AsyncIterator[Stores]:
    """Open stores on a database that has its tables."""
    copies: list[Entry] = []
    copy = copies.append
    async with opened(store) as at:

        async def acts() -> list[Entry]:
            return [entry for _, entry in await SqlTrail(at.hot).entries()]

        way = at.hot if hot else None
        yield Stores(
            users=SqlUsers(at.database, reads=way, copy=copy),
            callers=SqlCallers(at.database, way, copy=copy),
            locks=SqlSoftLocks(at.hot, copy=copy),
            acts=acts,
            copies=copies,
        )


def a_caller(number: int = 1, *, name: str = "synapse", hours: int = 0) -> Caller:
    return Caller(
        token_id=f"{number:012x}",
        name=name,
        scopes=frozenset({Scope.CHECK, Scope.FEED}),
        created_at=NOW + timedelta(hours=hours),
    )
