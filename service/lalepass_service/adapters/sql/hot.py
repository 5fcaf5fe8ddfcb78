"""The statements that every check runs: one thread, one connection, one commit for all who wait.

A check reads a token and an account, pays for its guess before it hashes, and settles after it;
before it accepts, it reads the account once more.
Through SQLAlchemy and a pool each of these costs a twentieth of the hash itself in processor time.
Here a whole transaction is one function on one thread, and what has queued up during a commit goes
into the next one together. What has returned is committed: every other process sees it, and the
death of this one does not take it back.

The price: the statements of the soft-lock are written by hand in SQLite's SQL. The others are those
of SQLAlchemy (see `compiled`), and the contract suite of the stores runs on both ways.
"""

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, Self, TypeVar

from lalepass_service.adapters.sql.engine import PRAGMAS, translated
from lalepass_service.core.errors import StoreUnavailable

_log: Final = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_SYNCHRONOUS: Final = "synchronous = NORMAL"
"""What is written here are counters. They survive the death of the process; a power cut may take
their last moments. An fsync for each would make every login wait longer for the disk than for the
network. Accounts and passwords are written with FULL, by `engine`."""

_MAX_QUEUED: Final = 4096
"""More than the service admits: whoever is above it is told that the store is not available."""

_MAX_TOGETHER: Final = 128
"""So that the first of a batch does not wait for a long one."""


_MAX_POSTED: Final = 10_000
"""Posted work that has not been done, while the database is away. Beyond that it is dropped."""

_POSTED_SECONDS: Final = 0.02
"""How long posted work waits for other work to be done with."""


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    work: Work[T]
    writes: bool
    done: "asyncio.Future[T] | None"
    """None for posted work, which nobody waits for."""

    @property
    def wanted(self) -> bool:
        return self.done is None or not self.done.done()


class HotPath:
    """Runs small functions on the database, in the order in which they came.

    Belongs to one event loop. Functions must be quick and must not keep the connection.
    """

    def __init__(self, path: Path, *, busy_timeout: float, deadline: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._deadline = deadline
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._posted: deque[_Job[Any]] = deque()
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="database", daemon=True)

    @classmethod
    def open(cls, path: Path, *, busy_timeout: float = 5.0) -> Self:
        """Start the thread. The file is opened with its first use.

        Args:
            path: an existing database with current tables.
            busy_timeout: seconds to wait for the locks of other processes.
        """
        hot = cls(path, busy_timeout=busy_timeout, deadline=2 * busy_timeout)
        hot._thread.start()
        return hot

    async def read(self, work: Work[T]) -> T:
        """Run a function that only reads.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        return await self._ask(work, writes=False)

    async def write(self, work: Work[T]) -> T:
        """Run a function inside a transaction and return when it is committed.

        The function may run twice: if another one of its batch fails, each runs again by itself.
        So it must change nothing but the database.

        Raises:
            StoreUnavailable: the database did not answer, or not in time. What was to be written
                may or may not be there.
        """
        return await self._ask(work, writes=True)

    def post(self, work: Work[object]) -> None:
        """Have a function run inside a transaction soon, and do not wait for it.

        It runs before all writes that are asked for after this call, together with the next of
        them, and after a fiftieth of a second at the latest: a commit of its own would cost as
        much again.
        What can't be written is lost, and logged. So it has to be something whose loss errs on the
        safe side.
        """
        if self._closed or len(self._posted) >= _MAX_POSTED:
            _log.warning("what was posted to the database is lost")
            return
        self._posted.append(_Job(work, writes=True, done=None))
        if len(self._posted) == 1:
            asyncio.get_running_loop().call_later(_POSTED_SECONDS, self._push)

    async def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._push()
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._deadline)
        if self._watch is not None:
            self._watch.cancel()

    async def _ask(self, work: Work[T], *, writes: bool) -> T:
        if self._closed or self._queue.qsize() >= _MAX_QUEUED:
            raise StoreUnavailable
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._bound(loop, done)
        self._queue.put(_Job(work, writes, done))
        return await done

    def _push(self) -> None:
        """Wake the thread for what is posted, if it has not been taken along already."""
        if self._posted and not self._closed:
            self._queue.put(_Job(_nothing, writes=True, done=None))

    def _bound(self, loop: asyncio.AbstractEventLoop, done: "asyncio.Future[Any]") -> None:
        """Give up waiting after the deadline.

        All have the same one and most are done in order, so one timer does for all of them: to set
        and to cancel one for each costs more than to read a row.
        """
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()
        self._waiting.append((loop.time() + self._deadline, done))
        if self._watch is None:
            self._watch = loop.call_later(self._deadline, self._give_up, loop)

    def _give_up(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= now):
            _, done = self._waiting.popleft()
            if not done.done():
                done.set_exception(StoreUnavailable())
        self._watch = None
        if self._waiting:
            self._watch = loop.call_at(self._waiting[0][0], self._give_up, loop)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while jobs := self._next():
            try:
                with translated():
                    connection = connection or self._connect()
                    outcomes = _run_together(connection, jobs)
            except Exception as exc:  # noqa: BLE001 - each caller gets it; the thread goes on
                outcomes = [exc] * len(jobs)
            if connection and any(isinstance(each, StoreUnavailable) for each in outcomes):
                # It may be broken. The next batch opens a new one.
                connection.close()
                connection = None
            _deliver(jobs, outcomes)
            # Not kept until there is more work: they may hold somebody's record.
            del jobs, outcomes
        if connection:
            connection.close()

    def _next(self) -> list[_Job[Any]]:
        """Wait for work and return it; nothing when closed and all is done.

        What nobody waits for any more is left out: its caller was told that it failed.
        """
        while (job := self._queue.get()) is not None:
            jobs = [job]
            with suppress(Empty):
                while len(jobs) < _MAX_TOGETHER and (job := self._queue.get_nowait()) is not None:
                    jobs.append(job)
            if job is None:
                self._queue.put(None)  # the end was among them: it comes after what is left
            wanted = [job for job in jobs if job.wanted]
            if any(job.writes for job in wanted):
                # What was posted goes along with the next who writes, and before them.
                posted = [self._posted.popleft() for _ in range(len(self._posted))]
                wanted = posted + wanted
            if wanted:
                return wanted
        return []

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=True,
        )
        for pragma in (*PRAGMAS, _SYNCHRONOUS):
            connection.execute(f"PRAGMA {pragma}")
        return connection


def _nothing(_: sqlite3.Connection) -> None:
    """Be there for the sake of what is posted."""


def _run_together(connection: sqlite3.Connection, jobs: list[_Job[Any]]) -> list[Any]:
    """Run a batch in one transaction, or one by one if any of them fails.

    If the transaction can't even begin, the whole batch fails at once: to try again for each would
    make all of them wait for a lock that is not to be had, and everybody behind them.
    """
    if not any(job.writes for job in jobs):
        return [_outcome(job.work, connection) for job in jobs]
    connection.execute("BEGIN IMMEDIATE")
    try:
        outcomes = [job.work(connection) for job in jobs]
        connection.execute("COMMIT")
    except Exception:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(jobs) == 1:
            raise
        return _one_by_one(connection, jobs)
    return outcomes


def _one_by_one(connection: sqlite3.Connection, jobs: list[_Job[Any]]) -> list[Any]:
    outcomes: list[Any] = []
    for job in jobs:
        outcome = _outcome(partial(_run_alone, job), connection)
        outcomes.append(outcome)
        if isinstance(outcome, StoreUnavailable):
            # What fails the store for one fails it for all behind.
            return outcomes + [outcome] * (len(jobs) - len(outcomes))
    return outcomes


def _run_alone(job: _Job[Any], connection: sqlite3.Connection) -> object:
    return _run_together(connection, [job])[0]


def _outcome(work: Work[Any], connection: sqlite3.Connection) -> object:
    """Return what the work returns or raises: it is its caller's, and nobody else's."""
    try:
        with translated():
            return work(connection)
    except Exception as exc:  # noqa: BLE001 - as above
        return exc


def _deliver(jobs: list[_Job[Any]], outcomes: list[Any]) -> None:
    """Hand all outcomes over with one call to the loop: waking it costs a system call."""
    asked: list[tuple[asyncio.Future[Any], Any]] = []
    lost = 0
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.done is not None:
            asked.append((job.done, outcome))
        else:
            lost += isinstance(outcome, BaseException)
    if lost:
        _log.warning("what was posted to the database is lost, %d times", lost)
    if asked:
        # The loop may be gone, and all who waited with it.
        with suppress(RuntimeError):
            asked[0][0].get_loop().call_soon_threadsafe(_settle, asked)


def _settle(asked: list[tuple["asyncio.Future[Any]", Any]]) -> None:
    for done, outcome in asked:
        if done.done():
            continue  # the caller has gone, or its time was over
        if isinstance(outcome, BaseException):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
