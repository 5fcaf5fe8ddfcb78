# ruff: noqa: ASYNC240 - the loop has nothing else to do while a test looks at its file

import asyncio
import logging
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection

from lalepass_service.adapters.sql.callers import SqlCallers
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.identifiers import ByEmail, ByLocalpart
from lalepass_service.core.model import Caller, PasswordRecord, Scope
from tests.lalepass_service.accounts import NOW, a_user
from tests.lalepass_service.adapters.sql.processes import GIVE_UP, WRITE, go, start
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = Database.open(path)
    yield database
    await database.close()


@asynccontextmanager
async def impatient(path: Path) -> AsyncIterator[Database]:
    """A database that waits for nobody."""
    database = Database.open(path, busy_timeout=0.1)
    yield database
    await database.close()


async def _one(connection: AsyncConnection, statement: str) -> Any:
    return (await connection.exec_driver_sql(statement)).scalar()


async def test_the_pragmas_are_in_force_on_every_connection(database: Database) -> None:
    async with database.read() as first, database.read() as second, database.write() as third:
        for connection in (first, second, third):
            assert await _one(connection, "PRAGMA journal_mode") == "wal"
            assert await _one(connection, "PRAGMA synchronous") == 2
            assert await _one(connection, "PRAGMA foreign_keys") == 1
            assert await _one(connection, "PRAGMA secure_delete") == 1
            assert await _one(connection, "PRAGMA busy_timeout") == 5000


async def test_a_missing_file_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Database.open(tmp_path / "missing.db")

    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_vanishes_is_not_made_anew(path: Path) -> None:
    database = Database.open(path)
    path.unlink()

    with pytest.raises(StoreUnavailable):
        await database.ping(1)

    assert not path.exists()
    await database.close()


async def test_a_command_that_finds_no_file_says_so_and_nothing_else(path: Path) -> None:
    process = start(GIVE_UP, path)
    go(process)

    said, errors = await asyncio.to_thread(process.communicate, timeout=60)

    assert said == "the database is not available\n"
    assert errors == ""


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "what?.db", "a#b.db", "ü.db", "a&mode=ro"])
async def test_any_file_name_will_do(path: Path, name: str) -> None:
    database = Database.open(path.rename(path.with_name(name)))

    await SqlUsers(database).add(a_user(), None, reuse_name=False)

    assert await SqlUsers(database).find(ByLocalpart("alice")) == a_user()
    await database.close()


async def test_a_ping_is_answered(database: Database) -> None:
    await database.ping(5)


async def test_a_ping_notices_that_there_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    database = Database.open(tmp_path / "empty.db")

    with pytest.raises(StoreUnavailable):
        await database.ping(5)
    await database.close()


@pytest.mark.parametrize("garbage", [b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 8192])
async def test_a_corrupt_file_is_no_answer(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage)
    database = Database.open(path)

    for attempt in (
        database.ping(5),
        SqlUsers(database).credentials(ByLocalpart("alice")),
        SqlUsers(database).add(a_user(), None, reuse_name=False),
        SqlCallers(database).find("000000000001"),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt
    await database.close()


async def test_after_closing_there_is_no_answer(path: Path) -> None:
    database = Database.open(path)
    await database.ping(5)
    await database.close()

    with pytest.raises(StoreUnavailable):
        await database.ping(5)
    with pytest.raises(StoreUnavailable):
        await SqlUsers(database).add(a_user(), None, reuse_name=False)


async def test_a_write_that_fails_is_undone(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as connection:
            await connection.exec_driver_sql("DELETE FROM users")
            raise ValueError("changed my mind")

    await SqlUsers(database).add(a_user(), None, reuse_name=False)
    with pytest.raises(ValueError, match="changed my mind"):
        await fail()

    assert await SqlUsers(database).find(ByLocalpart("alice")) == a_user()


async def test_readers_do_not_wait_for_a_writer(path: Path) -> None:
    async with impatient(path) as database:
        users = SqlUsers(database)
        await users.add(a_user(), None, reuse_name=False)
        async with database.write() as connection:
            await connection.exec_driver_sql("DELETE FROM users")
            await database.ping(5)

            assert await users.find(ByLocalpart("alice")) == a_user()


async def test_a_lock_that_is_held_too_long_is_no_answer(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with impatient(path) as database:
        with pytest.raises(StoreUnavailable):
            await SqlUsers(database).add(a_user(), None, reuse_name=False)
        other.execute("ROLLBACK")
        await SqlUsers(database).add(a_user(), None, reuse_name=False)
    other.close()


async def test_a_lock_that_is_given_back_is_waited_for(database: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    adding = asyncio.create_task(SqlUsers(database).add(a_user(), None, reuse_name=False))
    await database.ping(5)
    assert not adding.done()

    other.execute("ROLLBACK")
    await adding
    other.close()


async def test_more_users_than_connections_get_their_turn(database: Database) -> None:
    users = SqlUsers(database)

    async def one(number: int) -> None:
        await users.add(a_user(f"u{number}"), None, reuse_name=False)
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
        await SqlUsers(database).add(a_user(), None, reuse_name=False)


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
        await SqlUsers(database).add(a_user(), None, reuse_name=False)


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

        await SqlUsers(database).add(a_user(), None, reuse_name=False)


@contextmanager
def no_file_grows() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_takes_nothing_is_no_answer_and_nothing_is_half_written(
    database: Database,
) -> None:
    users = SqlUsers(database)
    await users.add(a_user("before"), None, reuse_name=False)

    with no_file_grows(), pytest.raises(StoreUnavailable):
        await users.add(a_user("during"), None, reuse_name=False)
    await users.add(a_user("after"), None, reuse_name=False)

    everyone = await users.page(after=None, limit=9, state=None)
    assert [user.localpart for user in everyone] == ["after", "before"]


async def test_a_file_that_may_not_be_written_can_be_read(path: Path) -> None:
    async with impatient(path) as database:
        await SqlUsers(database).add(a_user(), None, reuse_name=False)
        # root may write whatever the mode says, so let SQLite itself refuse
        async with database.write() as connection:
            await connection.exec_driver_sql("PRAGMA query_only = ON")
        with pytest.raises(StoreUnavailable):
            await SqlUsers(database).add(a_user("bob"), None, reuse_name=False)

        assert await SqlUsers(database).find(ByLocalpart("alice")) == a_user()


async def test_an_acknowledged_write_survives_kill_9(path: Path) -> None:
    process = start(WRITE, path, "user", "100000")
    go(process)
    assert process.stdout
    acknowledged = [process.stdout.readline().strip() for _ in range(50)]
    process.kill()
    rest, _ = process.communicate(timeout=60)
    acknowledged.extend(line for line in rest.split("\n")[:-1])

    async with impatient(path) as database:
        users = SqlUsers(database)
        for name in acknowledged:
            found = await users.credentials(ByEmail(f"{name}@x"))
            assert found is not None
            assert found.record == PasswordRecord("$")


async def test_two_processes_write_without_losing_anything(path: Path) -> None:
    processes = [start(WRITE, path, prefix, "100") for prefix in ("a", "b")]
    for process in processes:
        go(process)
    for process in processes:
        _, errors = await asyncio.to_thread(process.communicate, timeout=100)
        assert errors == ""
        assert process.returncode == 0

    async with impatient(path) as database:
        everyone = await SqlUsers(database).page(after=None, limit=1000, state=None)
    assert len(everyone) == 200


async def test_nothing_that_is_stored_gets_into_a_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = ("$the-record$", "alice@example.org", "the-digest")
    async with impatient(path) as database:
        users = SqlUsers(database)
        user = a_user(emails=("alice@example.org",))
        await users.add(user, PasswordRecord("$the-record$"), reuse_name=False)
        await users.credentials(ByEmail("alice@example.org"))
        caller = Caller(
            token_id="1", name="synapse", scopes=frozenset({Scope.CHECK}), created_at=NOW
        )
        await SqlCallers(database).add(caller, b"the-digest", limit=2)
        await SqlCallers(database).find("1")

    assert not [secret for secret in secrets if secret in caplog.text]


async def test_nothing_that_is_stored_gets_into_an_error(database: Database) -> None:
    statement = sqlalchemy.text("INSERT INTO users (id) VALUES (:secret, 1)")
    with pytest.raises(StoreUnavailable) as caught:
        async with database.write() as connection:
            await connection.execute(statement, {"secret": "$the-record$"})

    assert "the-record" not in f"{caught.value!r} {caught.value.__cause__}"


async def test_a_deleted_account_leaves_no_trace_in_the_file(path: Path) -> None:
    async with impatient(path) as database:
        users = SqlUsers(database)
        user = a_user(emails=("alice@example.org",))
        await users.add(user, PasswordRecord("$the-record$"), reuse_name=False)
        await users.delete(user.id, deleted_at=NOW)

    content = path.read_bytes()
    assert b"alice@example.org" not in content
    assert b"the-record" not in content
    assert b"alice" in content


async def test_a_wrong_use_looks_like_one(database: Database) -> None:
    naive = NOW.replace(tzinfo=None)

    with pytest.raises(sqlalchemy.exc.StatementError, match="without a zone"):
        await SqlUsers(database).set_password(a_user().id, PasswordRecord("$"), changed_at=naive)


async def test_nothing_is_left_when_all_is_closed(path: Path) -> None:
    before = threading.active_count()
    async with impatient(path) as database:
        await asyncio.gather(*(database.ping(5) for _ in range(9)))
        assert threading.active_count() > before

    await until(lambda: threading.active_count() == before)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
