"""The stores that homeservers follow, and who is in them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from lalepass_service.adapters.memory import (
    MemoryChanges,
    MemorySignIns,
    MemorySignOutOrders,
    MemoryUsers,
)
from lalepass_service.adapters.sql.feed import SqlChanges
from lalepass_service.adapters.sql.orders import SqlSignOutOrders
from lalepass_service.adapters.sql.sign_ins import SqlSignIns
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.changes import Changes, SignOutOrders
from lalepass_service.core.model import PasswordRecord, UserState
from lalepass_service.core.ports import Users
from lalepass_service.core.sign_ins import SignIns
from tests.lalepass_service.accounts import NOW, a_user
from tests.lalepass_service.adapters.databases import fresh, opened

LATER = NOW + timedelta(hours=1)
RECORD = PasswordRecord("$")
ALICE = replace(
    a_user("alice", emails=("z@x", "a@x"), phones=("491701234567",)),
    display_name="Alice",
    admin=True,
)
BOB = a_user("bob", state=UserState.DISABLED)


@dataclass(frozen=True)
class Followed:
    users: Users
    changes: Changes
    orders: SignOutOrders
    sign_ins: SignIns

    async def names(self, after: int = 0, limit: int = 99) -> list[str]:
        return [each.localpart for each in (await self.changes.behind(after, limit=limit)).changes]

    async def locked(self, after: str | None = None, limit: int = 99) -> list[str]:
        return list((await self.changes.locked(after=after, limit=limit)).localparts)

    async def pending(self, caller: str = "hs", limit: int = 99) -> list[str]:
        return [each.localpart for each in await self.orders.pending(caller, limit=limit)]


@asynccontextmanager
async def following(
    kind: str, request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[Followed]:
    """Open those of one installation."""
    if kind == "memory":
        users = MemoryUsers()
        yield Followed(
            users=users,
            changes=MemoryChanges(users),
            orders=MemorySignOutOrders(users),
            sign_ins=MemorySignIns(users),
        )
        return
    async with opened(fresh(kind, request, folder)) as at:
        yield Followed(
            users=SqlUsers(at.database),
            changes=SqlChanges(at.lane),
            orders=SqlSignOutOrders(lane=at.lane, hot=at.hot),
            sign_ins=SqlSignIns(at.hot),
        )
