"""A guard over a file that stalls: who gave up in the middle can come in when the file is back."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from lalepass_service.adapters.clock import SystemClock
from lalepass_service.adapters.memory import InstantHasher, MemoryTrail, NoThrottle
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.entrance import SqlEntrance
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.check import Accepted, CredentialCheck
from lalepass_service.core.digests import Digests
from lalepass_service.core.errors import NoAnswer, StoreUnavailable
from lalepass_service.core.guard import Attempt, GuardedCheck
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password
from tests.lalepass_service.accounts import ACT, a_user

pytestmark = pytest.mark.anyio

RIGHT = "correct horse"
BUSY_SECONDS = 0.5


class Site:
    """A guard on a file, and the ways to the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = Database.open(path)
        self.hot = HotPath.open(path, busy_timeout=BUSY_SECONDS)
        self.users = SqlUsers(self.database, None, self.hot)
        self.hasher = InstantHasher()
        self.trail = MemoryTrail()
        self.guard = GuardedCheck(
            check=CredentialCheck(users=self.users, hasher=self.hasher, clock=SystemClock()),
            entrance=SqlEntrance(self.hot, self.users),
            locks=SqlSoftLocks(self.hot),
            throttle=NoThrottle(),
            digests=Digests(b"k" * 32),
            trail=self.trail,
            clock=SystemClock(),
        )

    async def add(self, localpart: str) -> None:
        record = await self.hasher.hash(Password(RIGHT))
        await self.users.add(a_user(localpart), record, reuse_name=False, act=ACT)

    async def check(self, localpart: str = "alice") -> object:
        attempt = Attempt(
            identifier=ByLocalpart(localpart), password=Password(RIGHT), caller="s", ip="10.0.0.1"
        )
        return await self.guard.check(attempt)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    path = tmp_path / "lalepass.db"
    upgrade(path)
    site = Site(path)
    await site.add("alice")
    yield site
    await site.hot.close()
    await site.database.close()


async def _idle(hot: HotPath) -> None:
    """Wait until the thread has done all that it was given."""
    async with asyncio.timeout(20):
        while True:
            try:
                await hot.write(lambda _: None)
            except StoreUnavailable:
                continue
            return


async def test_who_gave_up_while_the_file_was_locked_comes_in_afterwards(site: Site) -> None:
    with closing(sqlite3.connect(site.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises((TimeoutError, NoAnswer)):
            async with asyncio.timeout(BUSY_SECONDS / 5):
                await site.check()
        other.execute("ROLLBACK")
    await _idle(site.hot)

    for _ in range(3):
        assert isinstance(await site.check(), Accepted)


class Stall:
    """Work on the file that stands still, with a check behind it in the same batch."""

    def __init__(self) -> None:
        self._begun, self._go = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def work(self, _: Session) -> None:
        self._loop.call_soon_threadsafe(self._begun.set)
        asyncio.run_coroutine_threadsafe(self._go.wait(), self._loop).result(30)

    async def begun(self) -> None:
        async with asyncio.timeout(20):
            await self._begun.wait()

    def end(self) -> None:
        self._go.set()


async def _check_behind_a_stall(site: Site) -> tuple[Stall, asyncio.Task[object]]:
    first, second = Stall(), Stall()
    writes = [asyncio.create_task(site.hot.write(first.work))]
    await first.begun()
    # What queues up behind the first one becomes one batch.
    writes.append(asyncio.create_task(site.hot.write(second.work)))
    check = asyncio.create_task(site.check())
    await asyncio.sleep(0)
    first.end()
    await second.begun()
    for each in writes:
        each.add_done_callback(lambda done: done.exception())
    return second, check


async def test_who_was_told_that_the_file_stalls_comes_in_afterwards(site: Site) -> None:
    """The work is done after its time was over."""
    stall, check = await _check_behind_a_stall(site)
    with pytest.raises(StoreUnavailable):
        await check
    stall.end()
    await _idle(site.hot)

    for _ in range(3):
        assert isinstance(await site.check(), Accepted)


async def test_who_left_while_the_file_stalls_comes_in_afterwards(site: Site) -> None:
    stall, check = await _check_behind_a_stall(site)
    check.cancel()
    with pytest.raises(asyncio.CancelledError):
        await check
    stall.end()
    await _idle(site.hot)

    for _ in range(3):
        assert isinstance(await site.check(), Accepted)
