"""The database: how it is opened, read, written and waited for.

Everything that can go wrong with it becomes StoreUnavailable here, once.
"""

import asyncio
import errno
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial
from pathlib import Path
from typing import Final, Protocol, Self

import aiosqlite
from sqlalchemy import AsyncAdaptedQueuePool, event, literal, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lalepass_service.adapters.sql.tables import users
from lalepass_service.core.errors import StoreUnavailable

# At DEBUG both print what is bound to a statement and what comes back: password records, mail
# addresses. The second has hide_parameters for the former only, the first has nothing. So neither
# follows the level of the root logger.
for _name in ("aiosqlite", "sqlalchemy.engine"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_CONNECTIONS: Final = 4
"""One of them writes at a time. A read takes less than a millisecond, so a few go a long way."""

_GRACE_SECONDS: Final = 1.0
"""For a connection that is to be closed after its time is over; then it is left behind."""


PRAGMAS: Final = (
    # readers do not wait for the writer, nor it for them
    "journal_mode = WAL",
    # an acknowledged change survives a power cut; it costs one fsync each
    "synchronous = FULL",
    "foreign_keys = ON",
    # a deleted person's data is overwritten, and not only forgotten
    "secure_delete = ON",
)
"""What every connection is set to."""


class Transaction(Protocol):
    """A transaction that writes, on a connection."""

    def __call__(
        self, connection: AsyncConnection, *, beside: bool
    ) -> AbstractAsyncContextManager[None]:
        """Take the write lock, or share it with others who are `beside` it; commit at the end."""
        ...


class Database:
    """The database of the service: a file of SQLite's, or a server (`postgres_engine`)."""

    def __init__(self, engine: AsyncEngine, *, seconds: float, transaction: Transaction) -> None:
        self._engine = engine
        self._seconds = seconds
        self._transaction = transaction
        # Writers of this process queue here, first come, first served. SQLite's own lock is not
        # fair, and those that wait for one would hold the connections that readers need.
        self._writer = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, busy_timeout: float = 5.0) -> Self:
        """Open an existing database file. Nothing is read before the first use.

        Args:
            path: the file, made by `migrate.upgrade`.
            busy_timeout: seconds to wait for the locks of other processes, and as long again for
                a free connection. No call takes more than three times as long, and a second.

        Raises:
            StoreUnavailable: there is no such file.
        """
        with translated():
            if not path.is_file():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        # mode=rw: a file that vanishes later is not replaced by an empty one, either.
        uri = f"{path.absolute().as_uri()}?mode=rw"
        engine = create_async_engine(
            "sqlite+aiosqlite://",
            async_creator=partial(_connect, uri, busy_timeout),
            poolclass=AsyncAdaptedQueuePool,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=busy_timeout,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        return cls(engine, seconds=3 * busy_timeout, transaction=_immediate)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection to read with. Each statement sees a snapshot of its own.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        async with self._bounded(), self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self, *, beside: bool = False) -> AsyncIterator[AsyncConnection]:
        """Lend a connection within a transaction, which is committed if the body succeeds.

        There is one at a time, over all processes, so that what is read inside stays as it is. The
        lock is taken at the start: in SQLite, taken later, on the first change, it would fail at
        once if another process had written in between, however long one is ready to wait.

        Args:
            beside: for a change that stands for itself, such as one compare-and-swap. On a server
                it goes beside others of its kind; never beside those that are not.

        Raises:
            StoreUnavailable: the database did not answer, or not in time. What was to be written
                may or may not be there.
            IntegrityError: a constraint does not hold; for the adapters to explain.
        """
        turn = nullcontext() if beside else self._writer
        async with (
            self._bounded(),
            turn,
            self._engine.connect() as connection,
            self._transaction(connection, beside=beside),
        ):
            yield connection

    async def ping(self, timeout: float) -> None:  # noqa: ASYNC109 - the caller says how long
        """Read from it.

        Raises:
            StoreUnavailable: that did not succeed within `timeout` seconds.
        """
        # It goes on when nobody waits for it any more: to find the right one of several hosts can
        # take longer than anybody asks for, and would be begun anew each time.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(_heed)
        with translated():
            try:
                async with asyncio.timeout(timeout):
                    await asyncio.shield(self._looking)
            except asyncio.CancelledError:
                if self._closed:
                    raise StoreUnavailable from None
                raise

    async def _look(self) -> None:
        async with self.read() as connection:
            await connection.execute(select(literal(1)).select_from(users).limit(1))

    async def close(self) -> None:
        """Close all connections. Afterwards every use raises StoreUnavailable."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        with translated():
            async with asyncio.timeout(self._seconds):
                await self._engine.dispose()

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """Bound the time and translate the errors of whatever is done inside."""
        if self._closed:
            raise StoreUnavailable
        with translated():
            async with _deadline(self._seconds, grace=_GRACE_SECONDS):
                yield


def _heed(looking: "asyncio.Task[None]") -> None:
    """Take note of what it came to, also when nobody waits for it."""
    if not looking.cancelled():
        looking.exception()


@asynccontextmanager
async def _deadline(seconds: float, *, grace: float) -> AsyncIterator[None]:
    """Cancel what runs inside, and cancel it again a little later.

    After the first time SQLAlchemy closes the connection in good order, and waits for its thread
    as long as a hung disk hangs. The second time it leaves the thread behind.
    """
    async with asyncio.timeout(seconds + grace), asyncio.timeout(seconds):
        yield


@contextmanager
def translated() -> Iterator[None]:
    """Turn what SQLAlchemy, SQLite and the system raise into StoreUnavailable.

    Not IntegrityError, which says something about the data, and not SQLAlchemy's errors about
    wrong use, which are faults of this program and should look like it.
    """
    try:
        yield
    except (IntegrityError, sqlite3.IntegrityError):
        raise
    except (DBAPIError, PoolTimeoutError, sqlite3.Error, OSError) as exc:
        raise StoreUnavailable from exc


class _Connection(aiosqlite.Connection):
    """A connection that waits for its thread, also when the file can't be opened.

    aiosqlite leaves the thread alone then. If the loop ends before it, as with a command that
    gives up, the thread fails to report its end and prints a traceback about that.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._stopped: asyncio.Future[None] | None = None
        # one that hangs must not keep the process from ending
        self._thread.daemon = True

    def stop(self) -> "asyncio.Future[None] | None":
        self._stopped = super().stop()
        return self._stopped

    async def _connect(self) -> Self:
        try:
            await super()._connect()
        except BaseException:
            if self._stopped is not None:
                await self._stopped
            raise
        return self


async def _connect(uri: str, busy_timeout: float) -> aiosqlite.Connection:
    # isolation_level None: the driver begins no transactions, `write` does in so many words.
    connector = partial(sqlite3.connect, uri, uri=True, timeout=busy_timeout, isolation_level=None)
    return await _Connection(connector)


@asynccontextmanager
async def _immediate(connection: AsyncConnection, *, beside: bool) -> AsyncIterator[None]:
    # A file has one writer in any case.
    del beside
    await connection.exec_driver_sql("BEGIN IMMEDIATE")
    yield
    await connection.commit()


def _set_pragmas(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
