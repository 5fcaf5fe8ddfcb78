"""The hot path on a file: one commit for all who wait.

What has queued up during a commit goes into the next one together.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from lalepass_service.adapters.sql.engine import PRAGMAS, translated
from lalepass_service.adapters.sql.hot import Job, T, WorkThread
from lalepass_service.adapters.sql.session import SqliteSession
from lalepass_service.core.errors import StoreUnavailable

_SYNCHRONOUS: Final = "synchronous = NORMAL"
"""What is written here are counters. They survive the death of the process; a power cut may take
their last moments. An fsync for each would make every login wait longer for the disk than for the
network. Accounts and passwords are written with FULL, by `engine`."""

Work = Callable[[SqliteSession], T]


class HotPath:
    """Implements `hot.Hot`. Functions run in the order in which they came."""

    def __init__(self, thread: WorkThread[SqliteSession]) -> None:
        self._thread = thread

    @classmethod
    def open(cls, path: Path, *, busy_timeout: float = 5.0) -> Self:
        """Start the thread. The file is opened with its first use.

        Args:
            path: an existing database with current tables.
            busy_timeout: seconds to wait for the locks of other processes.
        """
        runner = _Runner(path, busy_timeout=busy_timeout)
        return cls(WorkThread(runner, deadline=2 * busy_timeout))

    @property
    def connections(self) -> int:
        """How many connections there may be."""
        return 1

    @property
    def queued(self) -> int:
        """How much there is for them to do, and is being done."""
        return self._thread.queued

    async def read(self, work: Work[T]) -> T:
        """Run a function that only reads.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        return await self._thread.ask(work, writes=False)

    async def write(self, work: Work[T]) -> T:
        """Run a function inside a transaction and return when it is committed.

        The function may run twice: if another one of its batch fails, each runs again by itself.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        return await self._thread.ask(work, writes=True)

    async def step(self, work: Work[T], *, key: str) -> T:
        """Run a function as `write` does: a file has one writer in any case."""
        del key
        return await self._thread.ask(work, writes=True)

    def post(self, work: Work[object], *, key: str = "") -> None:
        """Have a function run inside a transaction soon, and do not wait for it."""
        del key
        self._thread.post(work)

    async def close(self) -> None:
        """Finish what is queued and end the thread."""
        await self._thread.close()


class _Runner:
    """Implements `hot.Runner`."""

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._connection: SqliteSession | None = None

    def run(self, jobs: Sequence[Job[Any, Any]]) -> list[Any]:
        """Run a batch in one transaction."""
        try:
            with translated():
                self._connection = self._connection or self._connect()
                outcomes = _run_together(self._connection, jobs)
        except Exception as exc:  # noqa: BLE001 - each caller gets it; the thread goes on
            outcomes = [exc] * len(jobs)
        if any(isinstance(each, StoreUnavailable) for each in outcomes):
            # It may be broken. The next batch opens a new one.
            self.close()
        return outcomes

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def interrupt(self, *, older: float) -> None:
        """Do nothing: a disk that hangs can't be interrupted, and locks are waited for in time."""
        del older

    def _connect(self) -> SqliteSession:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=True,
            factory=SqliteSession,
        )
        for pragma in (*PRAGMAS, _SYNCHRONOUS):
            connection.execute(f"PRAGMA {pragma}")
        return connection


def _run_together(connection: SqliteSession, jobs: Sequence[Job[Any, Any]]) -> list[Any]:
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


def _one_by_one(connection: SqliteSession, jobs: Sequence[Job[Any, Any]]) -> list[Any]:
    outcomes: list[Any] = []
    for job in jobs:
        outcome = _outcome(partial(_run_alone, job), connection)
        outcomes.append(outcome)
        if isinstance(outcome, StoreUnavailable):
            # What fails the store for one fails it for all behind.
            return outcomes + [outcome] * (len(jobs) - len(outcomes))
    return outcomes


def _run_alone(job: Job[Any, Any], connection: SqliteSession) -> object:
    return _run_together(connection, [job])[0]


def _outcome(work: Callable[[SqliteSession], Any], connection: SqliteSession) -> object:
    """Return what the work returns or raises: it is its caller's, and nobody else's."""
    try:
        with translated():
            return work(connection)
    except Exception as exc:  # noqa: BLE001 - as above
        return exc
