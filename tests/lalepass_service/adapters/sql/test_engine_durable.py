"""What is left on the disk, and what never gets anywhere else."""

# ruff: noqa: ASYNC240 - the loop has nothing else to do while a test looks at its file

import asyncio
import logging
from pathlib import Path

import pytest
import sqlalchemy

from lalepass_service.adapters.sql.callers import SqlCallers
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.identifiers import ByEmail, ByLocalpart
from lalepass_service.core.model import Caller, PasswordRecord, Scope
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.adapters.sql.faults import impatient, no_file_grows
from tests.lalepass_service.adapters.sql.processes import WRITE, go, start

pytestmark = pytest.mark.anyio


async def test_a_disk_that_takes_nothing_is_no_answer_and_nothing_is_half_written(
    database: Database,
) -> None:
    users = SqlUsers(database)
    await users.add(a_user("before"), None, reuse_name=False, act=ACT)

    with no_file_grows(), pytest.raises(StoreUnavailable):
        await users.add(a_user("during"), None, reuse_name=False, act=ACT)
    await users.add(a_user("after"), None, reuse_name=False, act=ACT)

    everyone = await users.page(after=None, limit=9, state=None)
    assert [user.localpart for user in everyone] == ["after", "before"]


async def test_a_file_that_may_not_be_written_can_be_read(path: Path) -> None:
    async with impatient(path) as database:
        await SqlUsers(database).add(a_user(), None, reuse_name=False, act=ACT)
        # root may write whatever the mode says, so let SQLite itself refuse
        async with database.write() as connection:
            await connection.exec_driver_sql("PRAGMA query_only = ON")
        with pytest.raises(StoreUnavailable):
            await SqlUsers(database).add(a_user("bob"), None, reuse_name=False, act=ACT)

        assert await SqlUsers(database).find(ByLocalpart("alice")) == a_user()


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
        await users.add(user, PasswordRecord("$the-record$"), reuse_name=False, act=ACT)
        await users.credentials(ByEmail("alice@example.org"))
        caller = Caller(
            token_id="1", name="synapse", scopes=frozenset({Scope.CHECK}), created_at=NOW
        )
        await SqlCallers(database).add(caller, b"the-digest", limit=2, act=ACT)
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
        await users.add(user, PasswordRecord("$the-record$"), reuse_name=False, act=ACT)
        await users.delete(user.id, now=standing(NOW), act=ACT)

    content = path.read_bytes()
    assert b"alice@example.org" not in content
    assert b"the-record" not in content
    assert b"alice" in content
