"""When an order is given: what begins before everybody can see the change must be older."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.model import PasswordRecord
from tests.lalepass_service.accounts import ACT, NOW, a_user

pytestmark = pytest.mark.anyio

ALICE = a_user()
OLD, NEW = PasswordRecord("$old"), PasswordRecord("$new")

Now = Callable[[], datetime]
WAYS: dict[str, Callable[[SqlUsers, Now], Awaitable[bool]]] = {
    "sign-out": lambda users, now: users.sign_out(ALICE.id, now=now, act=ACT),
    "password": lambda users, now: users.set_password(
        ALICE.id, NEW, changed_at=NOW, act=ACT, sign_out=now
    ),
    "deletion": lambda users, now: users.delete(ALICE.id, now=now, act=ACT),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_the_time_of_an_order_is_taken_when_nobody_else_writes_any_more(
    database: Database, path: Path, way: Callable[[SqlUsers, Now], Awaitable[bool]]
) -> None:
    """Another process may hold the lock for seconds: who logs in meanwhile has the old password."""
    users = SqlUsers(database)
    await users.add(ALICE, OLD, reuse_name=False, act=ACT)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    asked: list[bool] = []

    def now() -> datetime:
        asked.append(other.in_transaction)
        return NOW

    giving = asyncio.ensure_future(way(users, now))
    await database.ping(5)
    assert asked == []
    other.execute("ROLLBACK")

    assert await giving
    assert set(asked) == {False}
    other.close()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_nothing_is_written_behind_the_time_of_an_order(
    database: Database, way: Callable[[SqlUsers, Now], Awaitable[bool]]
) -> None:
    """What is left between it and the change that all can see is one statement and the commit."""
    users = SqlUsers(database)
    await users.add(ALICE, OLD, reuse_name=False, act=ACT)
    statements: list[str] = []

    def now() -> datetime:
        statements.append("now")
        return NOW

    def note(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert await way(users, now)
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    (last,) = statements[len(statements) - statements[::-1].index("now") :]
    assert last.startswith("INSERT INTO sign_outs")
