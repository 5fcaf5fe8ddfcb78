"""How the database is shared: transactions, locks, connections, and who hangs or hangs up."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.identifiers import ByLocalpart
from tests.lalepass_service.accounts import ACT, a_user
from tests.lalepass_service.adapters.sql.faults import impatient
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_write_that_fails_is_undone(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as connection:
            await connection.exec_driver_sql("DELETE FROM users")
            raise ValueError("changed my mind")

    await SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT)
    with pytest.raises(ValueError, match="changed my mind"):
        await fail()

    assert await SqlUsers(database).find(ByLocalpart("alice")) == a_user()


async def test_readers_do_not_wait_for_a_writer(path: Path) -> None:
    async with impatient(path) as database:
        users = SqlUsers(database)
        await users.add(a_user(), None, reuse_name=False, act=ACT)
        async with database.write() as connection:
            await connection.exec_driver_sql("DELETE FROM users")
            await database.ping(5)

            assert await users.find(ByLocalpart("alice")) == a_user()


async def test_a_lock_that_is_held_too_long_is_no_answer(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with impatient(path) as database:
        with pytest.raises(StoreUnavailable):
            await SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT)
        other.execute("ROLLBACK")
        await SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT)
    other.close()


async def test_a_lock_that_is_given_back_is_waited_for(database: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    adding = asyncio.create_task(SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT))
    await database.ping(5)
    assert not adding.done()

    other.execute("ROLLBACK")
    await adding
    other.close()


async def test_more_users_than_connections_get_their_turn(database: Database) -> None:
    users = SqlUsers(database)

    async def one(number: int) -> None:
        await users.add(a_user(f"u{number}"), None, reuse_name=False, act=ACT)
        assert await users.find(ByLocalpart(f"u{number}"))

    await asyncio.gather(*(one(number) for number in range(40)))

    assert len(await users.page(after=None, limit=99, state=None)) == 40


async def test_no_connection_free_is_no_answer(path: Path) -> None:
    async with (
        impatient(path) as database,
        database.read(),
        database.read(),
        database.read(),
        database.read(),
    ):
        with pytest.raises(StoreUnavailable):
            await database.ping(5)


@asynccontextmanager
async def hanging(database: Database) -> AsyncIterator[threading.Event]:
    """Give a connection a function that hangs until the event is set; then wait for its end."""
    release = threading.Event()
    threads: list[threading.Thread] = []

    def hang() -> None:
        threads.append(threading.current_thread())
        release.wait(timeout=60)

    async with database.read() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        await driver.create_function("hang", 0, hang)
    try:
        yield release
    finally:
        release.set()
        # A thread that outlives the loop can't report to it.
        await until(lambda: not any(thread.is_alive() for thread in threads))


async def test_a_hung_statement_is_no_answer_and_is_left_behind(path: Path) -> None:
    async with impatient(path) as database, hanging(database):
        with pytest.raises(StoreUnavailable):
            async with database.read() as connection:
                await connection.exec_driver_sql("SELECT hang()")

        # Its thread still hangs, and the others are served all the same.
        await database.ping(5)
        await SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT)


async def test_a_caller_who_hangs_up_takes_no_connection_along(path: Path) -> None:
    async with impatient(path) as database:
        for _ in range(10):
            async with hanging(database) as release:
                entered = asyncio.Event()

                async def hang(entered: asyncio.Event = entered) -> None:
                    async with database.read() as connection:
                        entered.set()
                        await connection.exec_driver_sql("SELECT hang()")

                task = asyncio.create_task(hang())
                await entered.wait()
                task.cancel()
                release.set()
                with pytest.raises(asyncio.CancelledError):
                    await task

        await database.ping(5)
        await SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT)


async def test_a_writer_who_hangs_up_gives_the_lock_back(path: Path) -> None:
    async with impatient(path) as database:
        entered = asyncio.Event()

        async def hang_up() -> None:
            async with database.write() as connection:
                await connection.exec_driver_sql("DELETE FROM tokens")
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hang_up())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        await SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT)
