"""The hot path on a server: several threads with a connection each.

One of them takes what has to be written in order; the others share the rest, each key always on
the same one. Statements of a step are committed one by one: what they hold on to nobody waits for,
and processes can't get into each other's way for longer than a statement takes.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Self
from zlib import crc32

import psycopg

from lalepass_service.adapters.sql.connecting import OpenSession
from lalepass_service.adapters.sql.hot import Job, T, WorkThread
from lalepass_service.adapters.sql.postgres import (
    AWAITED,
    BEGIN_WRITING,
    PostgresServer,
    moved,
    passing,
    translated,
)
from lalepass_service.adapters.sql.primaries import WrongPrimary
from lalepass_service.adapters.sql.session import PostgresSession
from lalepass_service.adapters.sql.standing import Rank
from lalepass_service.core.errors import StoreUnavailable

_ATTEMPTS: Final = 3
_STEP_ASIDE_SECONDS: Final = 0.02

Work = Callable[[PostgresSession], T]


class PostgresPaths:
    """Implements `hot.Hot`."""

    def __init__(self, threads: Sequence[WorkThread[PostgresSession]]) -> None:
        self._writer = threads[0]
        self._others = tuple(threads[1:] or threads)

    @classmethod
    def open(cls, server: PostgresServer, *, threads: int | None = None) -> Self:
        """Start the threads. Each connects with its first use.

        Args:
            server: a database with current tables.
            threads: how many; by default what `server` says.
        """
        deadline = server.timeout * AWAITED
        return cls(
            [
                WorkThread(_Runner(server), deadline=deadline, together=1)
                for _ in range(threads or server.connections)
            ]
        )

    @property
    def connections(self) -> int:
        """How many connections there may be."""
        return len({self._writer, *self._others})

    @property
    def queued(self) -> int:
        """How much there is for them to do, and is being done."""
        return sum(each.queued for each in {self._writer, *self._others})

    @property
    def busy(self) -> bool:
        """Whether any of the threads has something to do."""
        return any(each.queued for each in (self._writer, *self._others))

    async def read(self, work: Work[T]) -> T:
        """Run a function that only reads.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        idlest = min(self._others, key=lambda thread: thread.queued)
        return await idlest.ask(work, writes=False)

    async def write(self, work: Work[T]) -> T:
        """Run a function inside a transaction and return when it is committed.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        return await self._writer.ask(work, writes=True)

    async def step(self, work: Work[T], *, key: str) -> T:
        """Run a function whose every statement stands for itself.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        return await self._of(key).ask(work, writes=True, steps=True)

    def post(self, work: Work[object], *, key: str) -> None:
        """Have a function run soon, as a step, and do not wait for it."""
        self._of(key).post(work)

    async def close(self) -> None:
        """Finish what is queued and end the threads."""
        await asyncio.gather(*(each.close() for each in {self._writer, *self._others}))

    def _of(self, key: str) -> WorkThread[PostgresSession]:
        return self._others[crc32(key.encode(errors="surrogatepass")) % len(self._others)]


class _Runner:
    """Implements `hot.Runner`."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._open: OpenSession | None = None
        self._since: float | None = None
        """When the job was begun that runs now."""

    def run(self, jobs: Sequence[Job[Any, Any]]) -> list[Any]:
        """Run each by itself; if the database is away, the others need not try."""
        outcomes: list[Any] = []
        for job in jobs:
            outcomes.append(self._until_done(job))
            if isinstance(outcomes[-1], StoreUnavailable) and self._open is None:
                return outcomes + [outcomes[-1]] * (len(jobs) - len(outcomes))
        return outcomes

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def interrupt(self, *, older: float) -> None:
        """Cut the connection: a server that has stopped would never answer."""
        opened, since = self._open, self._since
        if opened is not None and since is not None and time.monotonic() - since >= older:
            opened.cut()

    def _until_done(self, job: Job[Any, Any]) -> object:
        """Do it again where that may help: once on a new connection, or if others were in the way.

        Every function may run more than once; see `hot.Hot`.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            had_one = self._open is not None
            done = self._once(job)
            cause = done.__cause__ if isinstance(done, StoreUnavailable) else None
            if isinstance(done, WrongPrimary):
                cause = done
            if not isinstance(cause, Exception):
                return done
            again = passing(cause) or moved(cause) or (had_one and self._open is None)
            if attempt == _ATTEMPTS or not again or not job.wanted:
                return done
            if passing(cause):
                # Those in whose way it was have to get ahead of it now.
                time.sleep(attempt * _STEP_ASIDE_SECONDS)  # noqa: TID251 - a thread of ours
        raise AssertionError("there is a last attempt")

    def _once(self, job: Job[Any, Any]) -> object:
        self._since = time.monotonic()
        try:
            with translated():
                done = _done(job, self._ready_for(job))
                self._server.primaries.require(self._rank)
        except Exception as exc:  # noqa: BLE001 - its caller gets it; the thread goes on
            done = exc
        self._since = None
        if isinstance(done, StoreUnavailable) and self._is_of_no_use(done.__cause__):
            self.close()
        return done

    @property
    def _rank(self) -> Rank | None:
        return self._open.rank if self._open is not None else None

    def _ready_for(self, job: Job[Any, Any]) -> OpenSession:
        """Return a connection to the primary, as far as one can know.

        Raises:
            psycopg.Error, WrongPrimary: there is none.
            StoreUnavailable: nobody waits for it any more.
        """
        primaries = self._server.primaries
        if job.writes:
            primaries.may_write(changes=not job.steps)
        if not primaries.believes(self._rank):
            primaries.dropped += 1
            self.close()
        if self._open is None:
            self._open = OpenSession.to(self._server)
            self._since = time.monotonic()
            if not job.wanted:
                # It has taken that long, and the next one has it for nothing.
                raise StoreUnavailable
        return self._open

    def _is_of_no_use(self, cause: BaseException | None) -> bool:
        broken = self._open is not None and (
            self._open.connection.closed
            or self._open.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
        )
        old = not self._server.primaries.believes(self._rank)
        return broken or old or (isinstance(cause, Exception) and moved(cause))


def _done(job: Job[Any, Any], opened: OpenSession) -> object:
    if not job.writes or job.steps:
        return job.work(opened.session)
    connection = opened.connection
    connection.execute(BEGIN_WRITING)
    try:
        done = job.work(opened.session)
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return done
