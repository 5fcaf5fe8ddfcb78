"""Processes on one server: several write, one is killed, and nobody who follows misses anything."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.connecting import connect
from lalepass_service.adapters.sql.feed import SqlChanges
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import PasswordRecord
from lalepass_service.core.watch import Watch
from tests.lalepass_service.accounts import ACT, a_user
from tests.lalepass_service.adapters.databases import Opened, opened, server_of
from tests.lalepass_service.adapters.killing import NOTES, Nursery, notes, rounds
from tests.lalepass_service.adapters.sql.processes import go, start
from tests.servers.postgres import Database, Postgres

pytestmark = pytest.mark.anyio

_PATIENCE = 60
_ROUNDS = 25

_OPEN = """
import asyncio, sys
from pathlib import Path
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import Throttled
from lalepass_service.core.model import Password, PasswordRecord, UserState
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.adapters.databases import opened

def server(url, password):
    return PostgresServer(url=url, password=Password(Path(password).read_text()))
"""

# Disables accounts one by one.
_DISABLE = (
    _OPEN
    + """
async def main(url, password, prefix, count):
    async with opened(server(url, password)) as at:
        users = SqlUsers(at.database)
        sys.stdin.readline()
        for number in range(int(count)):
            await users.set_state(a_user(f"{prefix}-{number}").id, UserState.DISABLED, act=ACT)

asyncio.run(main(*sys.argv[1:]))
"""
)

# Guesses as fast as it can, and says how many guesses it may make.
_GUESS = (
    _OPEN
    + """
from tests.lalepass_service.paying import debit

async def main(url, password, who, count):
    async with opened(server(url, password)) as at:
        locks = SqlSoftLocks(at.hot)
        sys.stdin.readline()

        async def one(number):
            guess = f"{who}-{number}".encode().rjust(16)
            try:
                await debit(locks, "id-alice", source=b"", guess=guess, now=NOW)
            except Throttled:
                return 0
            return 1

        print(sum(await asyncio.gather(*map(one, range(int(count))))))

asyncio.run(main(*sys.argv[1:]))
"""
)

# Sets passwords of eight people, and notes each that was acknowledged.
_CHANGE = (
    NOTES
    + _OPEN
    + """
import random

def work(url, password, path):
    asyncio.run(change(server(url, password), taking_notes(path)))

async def change(server, note):
    async with opened(server) as at:
        users = SqlUsers(at.database)
        while True:
            user, record = a_user(f"user-{random.randrange(8)}"), f"${random.random()}$"
            note("try", user.localpart, record)
            await users.set_password(user.id, PasswordRecord(record), changed_at=NOW, act=ACT)
            note("done", user.localpart, record)
"""
)


@pytest.fixture
def on_server(postgres_server: Postgres, template: str) -> Iterator[Database]:
    made = postgres_server.create_database(template=template)
    yield made
    postgres_server.drop_database(made.name)


@pytest.fixture
def server(on_server: Database) -> PostgresServer:
    return server_of(on_server)


@pytest.fixture
async def at(server: PostgresServer) -> AsyncIterator[Opened]:
    async with opened(server) as at:
        yield at


def arguments(on_server: Database) -> tuple[str, str]:
    return on_server.url, str(on_server.server.password_path)


async def settle(at: Opened, *names: str) -> None:
    users = SqlUsers(at.database)
    await asyncio.gather(
        *(users.add(a_user(n), PasswordRecord("$first$"), reuse_name=False, act=ACT) for n in names)
    )


async def test_two_processes_guess_at_one_account_and_get_three(on_server: Database) -> None:
    guessing = [start(_GUESS, *arguments(on_server), who, "400") for who in "ab"]
    for process in guessing:
        go(process)
    said = [await asyncio.to_thread(process.communicate, timeout=_PATIENCE) for process in guessing]

    assert [wrong for _, wrong in said] == ["", ""]
    assert sum(int(number) for number, _ in said) == 3


async def test_who_follows_beside_several_writers_misses_nothing(
    on_server: Database, at: Opened
) -> None:
    names = {f"{prefix}-{number}" for prefix in ("a", "b", "c") for number in range(40)}
    await settle(at, *names)
    writers = [start(_DISABLE, *arguments(on_server), prefix, "40") for prefix in ("a", "b", "c")]
    changes = SqlChanges(at.lane)
    watch = Watch(changes.head, pause=0.01)
    for writer in writers:
        go(writer)

    seen: list[str] = []
    places: list[int] = []
    async with asyncio.timeout(_PATIENCE):
        while len(seen) < len(names):
            await watch.beyond(places[-1] if places else 0, seconds=_PATIENCE)
            stretch = await changes.behind(places[-1] if places else 0, limit=7)
            seen += [each.localpart for each in stretch.changes]
            places += [each.seq for each in stretch.changes]
    await watch.close()

    said = [await asyncio.to_thread(writer.communicate, timeout=_PATIENCE) for writer in writers]
    assert [wrong for _, wrong in said] == [""] * 3
    assert Counter(seen) == Counter(names)
    assert places == sorted(set(places))


async def test_kill_9_loses_no_password_that_was_acknowledged(
    on_server: Database, server: PostgresServer, at: Opened, tmp_path: Path
) -> None:
    names = [f"user-{number}" for number in range(8)]
    await settle(at, *names)
    users = SqlUsers(at.database)
    path = tmp_path / "notes"
    changed = 0
    with Nursery(_CHANGE, *arguments(on_server), path) as nursery:
        for number, delay in enumerate(rounds(longest=0.4)):
            if number == _ROUNDS:
                break
            path.unlink(missing_ok=True)
            await asyncio.to_thread(nursery.kill_after, 0.1 + delay)
            await asyncio.to_thread(_wait_until_alone, server)
            possible: dict[str, set[str]] = {}
            for word, name, record in notes(path):
                # What was tried last may be there or not; what was acknowledged is.
                possible[name] = (
                    {record} if word == "done" else possible.get(name, set()) | {record}
                )
                changed += word == "done"
            for name, records in possible.items():
                found = await users.credentials(ByLocalpart(name))
                assert found
                assert found.record
                acknowledged = any(w == "done" and n == name for w, n, _ in notes(path))
                assert not acknowledged or found.record.phc in records
    assert changed > 0


def _wait_until_alone(server: PostgresServer) -> None:
    """Until the server has noticed that the process is gone: what was sent is done or is not."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state <> 'idle' AND pid <> pg_backend_pid()"
    )
    with connect(server) as connection:
        for _ in range(2000):
            if connection.execute(query).fetchone() == (0,):
                return
            connection.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("a process that is gone still has a statement")
