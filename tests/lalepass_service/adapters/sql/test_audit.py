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
from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.core.audit import Entry, Event
from lalepass_service.core.errors import StoreUnavailable
from tests.lalepass_service.accounts import CHECKED, NOW
from tests.lalepass_service.adapters.databases import fresh, opened

COUNT = "SELECT count(*) FROM audit"

pytestmark = pytest.mark.anyio

ENTRY = replace(CHECKED, details={"known": True})


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


BAD = "never to be seen \udcff"
"""Text that has no bytes in UTF-8."""


@pytest.fixture(params=["sqlite", "postgresql"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Hot]:
    async with opened(fresh(request.param, request, tmp_path)) as at:
        yield at.hot


@pytest.mark.parametrize("bad", [{0}, {299}, {7, 8}, {3, 150, 298}, set(range(0, 300, 20))])
async def test_an_entry_that_can_not_be_written_holds_back_no_other(
    either: Hot, bad: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    trail = SqlTrail(either)
    for number in range(300):
        agent = BAD if number in bad else "Element"
        trail.record(replace(ENTRY, request_id=str(number), user_agent=agent))

    await trail.flush()

    written = [entry.request_id for _, entry in await trail.entries()]
    assert written == [str(number) for number in range(300) if number not in bad]
    assert (trail.waiting, trail.lost) == (0, len(bad))
    said = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in said] == [
        f"the trail can't take {len(bad)} of its entries (UnicodeEncodeError)"
    ]
    assert "never to be seen" not in caplog.text


async def test_what_only_a_server_can_not_store_is_left_out_there(either: Hot) -> None:
    """U+0000: a driver says so by an error that looks like one of the database."""
    trail = SqlTrail(either)
    for agent in ("Element", "a\0b", "Element"):
        trail.record(replace(ENTRY, user_agent=agent))

    await trail.flush()

    assert len(await trail.entries()) + trail.lost == 3
    assert trail.lost <= 1
    assert trail.waiting == 0


async def test_what_is_behind_a_bad_entry_waits_for_the_database(hot: HotPath, path: Path) -> None:
    trail = SqlTrail(hot)
    for number in range(5):
        agent = BAD if number == 1 else "Element"
        trail.record(replace(ENTRY, request_id=str(number), user_agent=agent))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await trail.flush()
        assert (trail.waiting, trail.lost) == (5, 0)
        other.execute("ROLLBACK")
    await trail.flush()

    assert [entry.request_id for _, entry in await trail.entries()] == ["0", "2", "3", "4"]


async def test_a_fault_of_the_program_loses_nothing(
    hot: HotPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = SqlTrail(hot)
    for _ in range(3):
        trail.record(ENTRY)

    async def write(_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(hot, "write", write)
        with pytest.raises(RuntimeError):
            await trail.flush()
    assert (trail.waiting, trail.lost) == (3, 0)
    await trail.flush()
    assert len(await trail.entries()) == 3


async def test_who_was_turned_away_a_thousand_times_has_a_few_entries_that_say_so(
    hot: HotPath,
) -> None:
    seconds, copies = [0.0], list[Entry]()
    trail = SqlTrail(hot, copy=copies.append, seconds=lambda: seconds[0])
    running = asyncio.create_task(trail.run())
    await asyncio.sleep(0)
    turned_away = replace(ENTRY, outcome="throttled", details={})
    for _ in range(1000):
        trail.record(turned_away)
    await trail.flush()
    assert await trail.entries() == [(number, turned_away) for number in (1, 2, 3)]

    seconds[0] += 60
    await trail.flush()
    ((_, entry),) = await trail.entries(after=3)
    assert entry.details["count"] == 997
    for _ in range(10):
        trail.record(turned_away)
    # The end of the service waits for no minute.
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    entries = [entry for _, entry in await trail.entries()]
    assert [entry.details.get("count") for entry in entries] == [None] * 3 + [997] + [None] * 3 + [
        7
    ]
    assert entries == copies


async def test_every_entry_is_copied_at_once(hot: HotPath) -> None:
    copies: list[Entry] = []
    SqlTrail(hot, copy=copies.append).record(ENTRY)

    assert copies == [ENTRY]
