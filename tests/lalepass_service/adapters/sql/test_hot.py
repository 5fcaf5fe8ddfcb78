"""One thread for what every check runs: together when all is well, each for itself when not."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.core.errors import StoreUnavailable
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio

_BUSY_TIMEOUT = 0.3


@pytest.fixture
async def hot(path: Path) -> AsyncIterator[HotPath]:
    hot = HotPath.open(path, busy_timeout=_BUSY_TIMEOUT)
    yield hot
    await hot.close()


def retire(name: str) -> Callable[[sqlite3.Connection], str]:
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO retired_names VALUES (?, '')", (name,))
        return name

    return work


def names(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT localpart FROM retired_names")}


def on_disk(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return names(connection)


async def test_what_has_returned_is_on_disk(hot: HotPath, path: Path) -> None:
    written = await asyncio.gather(*(hot.write(retire(f"n{n}")) for n in range(300)))

    assert on_disk(path) == set(written) == await hot.read(names)


async def test_one_that_fails_does_not_fail_the_others(hot: HotPath, path: Path) -> None:
    work = [hot.write(retire(name)) for name in ("a", "b", "a", "c")]

    outcomes = await asyncio.gather(*work, return_exceptions=True)

    assert outcomes[0] == "a"
    assert isinstance(outcomes[2], sqlite3.IntegrityError)
    assert (outcomes[1], outcomes[3]) == ("b", "c")
    assert on_disk(path) == {"a", "b", "c"}


async def test_a_fault_of_the_work_is_its_callers(hot: HotPath) -> None:
    def fault(_: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    for ask in (hot.read, hot.write):
        with pytest.raises(ZeroDivisionError):
            await ask(fault)
    assert await hot.read(names) == set()


async def test_nothing_of_a_failed_transaction_stays(hot: HotPath, path: Path) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO retired_names VALUES ('half', '')")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await hot.write(half)

    assert on_disk(path) == set()


async def test_a_lock_of_another_process_fails_all_who_wait_once_and_not_one_by_one(
    hot: HotPath, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        work = [hot.write(retire(f"n{n}")) for n in range(40)]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        other.execute("ROLLBACK")

    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert await hot.write(retire("after")) == "after"
    # What was given up is not done behind its caller's back.
    assert on_disk(path) == {"after"}


async def test_a_broken_connection_is_replaced(hot: HotPath) -> None:
    await hot.read(lambda connection: connection.close())

    for ask in (hot.read, hot.read, hot.write):
        try:
            await ask(names)
        except StoreUnavailable:
            continue
        break
    assert await hot.read(names) == set()
    assert await hot.write(retire("a")) == "a"


async def test_a_file_that_is_gone_is_no_new_database(tmp_path: Path) -> None:
    path = tmp_path / "gone.db"
    hot = HotPath.open(path, busy_timeout=_BUSY_TIMEOUT)

    with pytest.raises(StoreUnavailable):
        await hot.read(names)
    await hot.close()
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a test may wait for a disk


async def test_closing_finishes_what_is_queued_and_takes_no_more(path: Path) -> None:
    hot = HotPath.open(path, busy_timeout=_BUSY_TIMEOUT)
    queued = [asyncio.ensure_future(hot.write(retire(f"n{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await hot.close()

    assert len(await asyncio.gather(*queued)) == 50
    with pytest.raises(StoreUnavailable):
        await hot.read(names)


async def test_what_is_posted_comes_before_what_is_written_later(hot: HotPath) -> None:
    for number in range(300):
        hot.post(retire(f"n{number}"))

    def count(connection: sqlite3.Connection) -> int:
        return len(names(connection))

    assert await hot.write(count) == 300


async def test_what_is_posted_is_written_soon_by_itself(hot: HotPath, path: Path) -> None:
    hot.post(retire("a"))

    await until(lambda: on_disk(path) == {"a"})


async def test_what_is_posted_and_fails_fails_nobody_else(
    hot: HotPath, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hot.post(retire("a"))
    hot.post(retire("a"))
    hot.post(retire("b"))

    assert await hot.write(retire("c")) == "c"
    assert on_disk(path) == {"a", "b", "c"}
    await until(lambda: "is lost" in caplog.text)


async def test_what_is_posted_is_written_before_the_end(path: Path) -> None:
    hot = HotPath.open(path, busy_timeout=_BUSY_TIMEOUT)
    hot.post(retire("a"))
    await hot.close()

    assert on_disk(path) == {"a"}
    hot.post(retire("b"))
    assert on_disk(path) == {"a"}


async def test_nobody_waits_for_ever_for_a_thread_that_hangs(path: Path) -> None:
    go = threading.Event()
    hot = HotPath.open(path, busy_timeout=0.05)
    try:
        hung = asyncio.create_task(hot.read(lambda _: go.wait(60)))
        behind = [asyncio.create_task(hot.read(names)) for _ in range(3)]
        for task in (hung, *behind):
            with pytest.raises(StoreUnavailable):
                await task
    finally:
        go.set()
    assert await hot.read(names) == set()
    await hot.close()
