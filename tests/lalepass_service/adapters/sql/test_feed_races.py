"""Several processes write, one of them is killed, and nobody who follows misses anything."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.feed import SqlChanges
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.model import UserState
from lalepass_service.core.watch import Watch
from tests.lalepass_service.accounts import ACT, a_user
from tests.lalepass_service.adapters.killing import Nursery, rounds
from tests.lalepass_service.adapters.sql.processes import go, start

pytestmark = pytest.mark.anyio

_PATIENCE = 60

# Disables accounts one by one, and prints the name of each once that has been acknowledged.
_DISABLE = """
import asyncio, sys
from pathlib import Path
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.model import UserState
from tests.lalepass_service.accounts import ACT, a_user

async def main(path, prefix, count):
    database = Database.open(Path(path))
    users = SqlUsers(database)
    sys.stdin.readline()
    for number in range(int(count)):
        name = f"{prefix}-{number}"
        await users.set_state(a_user(name).id, UserState.DISABLED, act=ACT)
        print(name, flush=True)
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""

# Whatever an operator does, again and again; acknowledged is what is in the second file.
_WORK = """
import asyncio, os, random
from dataclasses import replace
from pathlib import Path
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.model import PasswordRecord, UserId, UserState
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing

def work(path, acknowledged):
    asyncio.run(main(Path(path), acknowledged))

async def main(path, acknowledged):
    database = Database.open(path)
    users = SqlUsers(database)
    log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in range(1000):
        user = a_user(f"user-{random.randrange(8)}")
        await one(users, user, number)
        os.write(log, f"{user.localpart}\\n".encode())
    await database.close()

async def one(users, user, number):
    match number % 4:
        case 0:
            await users.set_state(user.id, random.choice(list(UserState)), act=ACT)
        case 1:
            await users.sign_out(user.id, now=standing(NOW), act=ACT)
        case 2:
            name = str(random.random())
            await users.edit(user.id, lambda user: replace(user, display_name=name), act=ACT)
        case 3:
            await users.set_password(
                user.id, PasswordRecord("$"), changed_at=NOW, sign_out=standing(NOW), act=ACT
            )
"""


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = Database.open(path)
    yield database
    await database.close()


@pytest.fixture
async def changes(path: Path) -> AsyncIterator[SqlChanges]:
    lane = HotPath.open(path)
    yield SqlChanges(lane)
    await lane.close()


async def settle(database: Database, *names: str) -> None:
    users = SqlUsers(database)
    for name in names:
        await users.add(a_user(name), None, reuse_name=False, act=ACT)


async def test_who_follows_beside_several_writers_misses_nothing(
    path: Path, database: Database, changes: SqlChanges
) -> None:
    names = {f"{prefix}-{number}" for prefix in ("a", "b", "c") for number in range(40)}
    await settle(database, *names)
    writers = [start(_DISABLE, path, prefix, "40") for prefix in ("a", "b", "c")]
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

    assert [writer.wait(_PATIENCE) for writer in writers] == [0, 0, 0]
    for writer in writers:
        writer.communicate()
    assert set(seen) == names
    assert len(seen) == len(names)
    assert places == sorted(set(places))


async def test_a_change_of_another_process_is_seen_soon(
    path: Path, database: Database, changes: SqlChanges
) -> None:
    await settle(database, "a-0")
    writer = start(_DISABLE, path, "a", "1")
    watch = Watch(changes.head)
    waiting = asyncio.create_task(watch.beyond(0, seconds=_PATIENCE))
    go(writer)

    async with asyncio.timeout(_PATIENCE / 2):
        await waiting

    (change,) = (await changes.behind(0, limit=9)).changes
    assert change.user is not None
    assert change.user.state is UserState.DISABLED
    await watch.close()
    writer.communicate(timeout=_PATIENCE)


def _consistent(path: Path) -> tuple[int, int]:
    """Return how many acts on accounts there are, and the newest place in the feed."""
    with closing(sqlite3.connect(path)) as connection:
        (acts,) = connection.execute("SELECT count(*) FROM audit").fetchone()
        (head,) = connection.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()
    return acts, head


async def test_kill_9_leaves_no_change_without_its_place_in_the_feed(
    path: Path, database: Database, changes: SqlChanges, tmp_path: Path
) -> None:
    """Each act of this work changes something that followers have to know, and moves the head.

    But for a state that is set for the second time, which leaves no act either.
    """
    await settle(database, *(f"user-{number}" for number in range(8)))
    settled, _ = _consistent(path)
    head = 0
    acknowledged = tmp_path / "acknowledged"
    with Nursery(_WORK, path, acknowledged) as nursery:
        for delay in rounds(longest=0.2):
            _, before = _consistent(path)
            # Killed early, it would leave behind what the last one has acknowledged.
            acknowledged.unlink(missing_ok=True)
            await asyncio.to_thread(nursery.kill_after, delay)
            acts, head = _consistent(path)
            assert acts - settled == head
            touched = {each.localpart for each in (await changes.behind(before, limit=99)).changes}
            done = acknowledged.read_text().split() if acknowledged.exists() else []
            # Every fourth of the acknowledged may have been no change: a state that it had.
            certain = {name for number, name in enumerate(done) if number % 4}
            assert certain <= touched
    assert head > 0
