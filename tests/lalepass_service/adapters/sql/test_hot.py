"""One thread for what every check runs: together when all is well, each for itself when not."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.hot import HotPath
from lalepass_service.core.errors import StoreUnavailable

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
