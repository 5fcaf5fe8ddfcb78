"""The statements that every check runs: one thread, one connection, one commit for all who wait.

A check reads a token and an account, pays for its guess before it hashes, and settles after it.
Through SQLAlchemy and a pool each of these costs a twentieth of the hash itself in processor time.
Here a whole transaction is one function on one thread, and what has queued up during a commit goes
into the next one together. What has returned is committed: every other process sees it, and the
death of this one does not take it back.

The price: the statements of the soft-lock are written by hand in SQLite's SQL. The others are those
of SQLAlchemy (see `compiled`), and the contract suite of the stores runs on both ways.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, Self, TypeVar

from lalepass_service.adapters.sql.engine import PRAGMAS, translated
from lalepass_service.core.errors import StoreUnavailable

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


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    work: Work[T]
    writes: bool
    done: "asyncio.Future[T]"


class HotPath:
    """Runs small functions on the database, in the order in which they came.

    Belongs to one event loop. Functions must be quick and must not keep the connection.
    """

    def __init__(self, path: Path, *, busy_timeout: float, deadline: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._deadline = deadline
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
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

    async def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._deadline)

    async def _ask(self, work: Work[T], *, writes: bool) -> T:
        if self._closed or self._queue.qsize() >= _MAX_QUEUED:
            raise StoreUnavailable
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        late = loop.call_later(self._deadline, _give_up, done)
        self._queue.put(_Job(work, writes, done))
        try:
            return await done
        finally:
            late.cancel()

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
            if wanted := [job for job in jobs if not job.done.done()]:
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


def _give_up(done: "asyncio.Future[Any]") -> None:
    if not done.done():
        done.set_exception(StoreUnavailable())


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
    loop = jobs[0].done.get_loop()
    try:
        loop.call_soon_threadsafe(_settle, jobs, outcomes)
    except RuntimeError:
        return  # the loop is gone, and all who waited with it


def _settle(jobs: list[_Job[Any]], outcomes: list[Any]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.done.done():
            continue  # the caller has gone, or its time was over
        if isinstance(outcome, BaseException):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome)
