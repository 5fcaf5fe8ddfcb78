# ruff: noqa: ASYNC240 - the loop has nothing else to do while a test looks at its file

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection

from lalepass_service.adapters.sql.callers import SqlCallers
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import PasswordRecord
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.adapters.sql.faults import impatient
from tests.lalepass_service.adapters.sql.processes import GIVE_UP, go, start
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio


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

    await SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT)

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
        SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT),
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
        await SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT)


async def test_a_wrong_use_looks_like_one(database: Database) -> None:
    naive = NOW.replace(tzinfo=None)

    with pytest.raises(sqlalchemy.exc.StatementError, match="without a zone"):
        await SqlUsers(database).set_password(
            a_user().id, PasswordRecord("$"), changed_at=naive, act=ACT
        )


async def test_nothing_is_left_when_all_is_closed(path: Path) -> None:
    before = threading.active_count()
    async with impatient(path) as database:
        await asyncio.gather(*(database.ping(5) for _ in range(9)))
        assert threading.active_count() > before

    await until(lambda: threading.active_count() <= before)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
