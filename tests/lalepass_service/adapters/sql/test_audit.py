"""The trail in the database: written behind the answer, read in order, never lost in silence."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.audit import SqlTrail
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.core.audit import Entry, Event
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import UserId
from tests.lalepass_service.accounts import NOW

COUNT = "SELECT count(*) FROM audit"

pytestmark = pytest.mark.anyio

ENTRY = Entry(
    at=NOW,
    event=Event.CHECK,
    outcome="accepted",
    actor="homeserver",
    user_id=UserId("id-alice"),
    localpart="alice",
    source_ip="192.0.2.1",
    user_agent="Element",
    request_id="POST-1",
    details={"known": True},
)


@pytest.fixture
async def hot(path: Path) -> AsyncIterator[HotPath]:
    hot = HotPath.open(path, busy_timeout=0.3)
    yield hot
    await hot.close()


async def test_what_was_recorded_comes_back_as_it_was(hot: HotPath) -> None:
    trail = SqlTrail(hot)
    bare = Entry(at=NOW, event=Event.USER_ADDED, outcome="done", actor="root")
    trail.record(ENTRY)
    trail.record(bare)
    await trail.flush()

    assert [entry for _, entry in await trail.entries()] == [ENTRY, bare]


async def test_it_is_written_soon_and_at_the_latest_at_the_end(hot: HotPath, path: Path) -> None:
    trail = SqlTrail(hot)
    running = asyncio.create_task(trail.run())
    await asyncio.sleep(0)
    trail.record(ENTRY)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT localpart FROM audit").fetchall() == [("alice",)]


async def test_it_can_be_searched(hot: HotPath) -> None:
    trail = SqlTrail(hot)
    for number, name in enumerate(["alice", "bob", "alice", "carol"]):
        trail.record(replace(ENTRY, localpart=name, at=NOW + timedelta(hours=number)))
    await trail.flush()

    async def names(**conditions: str) -> list[str | None]:
        return [entry.localpart for _, entry in await trail.entries(conditions=conditions)]

    assert await names(localpart="alice") == ["alice", "alice"]
    assert await names(outcome="refused_credentials") == []
    assert await names(since=(NOW + timedelta(hours=2)).isoformat()) == ["alice", "carol"]
    newest = await trail.entries(newest=True, limit=2)
    assert [entry.localpart for _, entry in newest] == ["alice", "carol"]
    behind = await trail.entries(after=newest[0][0])
    assert [entry.localpart for _, entry in behind] == ["carol"]


async def test_old_entries_are_forgotten(hot: HotPath) -> None:
    trail = SqlTrail(hot)
    trail.record(ENTRY)
    trail.record(replace(ENTRY, at=NOW + timedelta(days=400)))
    await trail.flush()

    assert await trail.forget(before=NOW + timedelta(days=1)) == 1
    assert len(await trail.entries()) == 1


async def test_what_is_old_is_forgotten_a_little_at_a_time(hot: HotPath, path: Path) -> None:
    """Every check needs the same thread: it comes in between."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO audit (at, event, outcome, actor) VALUES (?, 'check', 'accepted', 'hs')",
            [(f"2025-01-01T00:00:00.{number:06}+00:00",) for number in range(2500)],
        )
    forgetting = asyncio.create_task(SqlTrail(hot).forget(before=NOW))
    left = [2500]
    async with asyncio.timeout(20):
        while left[-1]:
            left.append(await hot.read(lambda session: session.run(COUNT).fetchone()[0]))

    assert set(left) <= {0, 500, 1500, 2500}
    assert len(set(left)) > 2
    assert await forgetting == 2500


async def test_nothing_is_lost_while_the_database_is_away(hot: HotPath, path: Path) -> None:
    trail = SqlTrail(hot)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(1200):
            trail.record(replace(ENTRY, request_id=str(number)))
        with pytest.raises(StoreUnavailable):
            await trail.flush()
        other.execute("ROLLBACK")
    await trail.flush()

    written = [entry.request_id for _, entry in await trail.entries(limit=5000)]
    assert written == [str(number) for number in range(1200)]
    assert trail.lost == 0


async def test_memory_is_bounded_and_what_is_lost_is_counted(hot: HotPath) -> None:
    trail = SqlTrail(hot)
    for _ in range(20_005):
        trail.record(ENTRY)

    assert trail.lost == 5


async def test_every_entry_is_copied_at_once(hot: HotPath) -> None:
    copies: list[Entry] = []
    SqlTrail(hot, copy=copies.append).record(ENTRY)

    assert copies == [ENTRY]
