"""Connections to PostgreSQL: how they are made, to whom they lead, how they are cut."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Self

import psycopg
from psycopg.errors import FeatureNotSupported, InsufficientPrivilege, UndefinedFunction
from psycopg.raw_cursor import RawCursor
from psycopg.rows import tuple_row

from lalepass_service.adapters.sql.postgres import PostgresServer, each_host
from lalepass_service.adapters.sql.session import PostgresSession
from lalepass_service.adapters.sql.standing import Rank

_log: Final = logging.getLogger(__name__)

_PORT: Final = "5432"

_RANK: Final = b"""
    SELECT system_identifier, CASE WHEN pg_is_in_recovery() THEN 0
        ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END
    FROM pg_control_system()
"""

NO_RANK: Final = (InsufficientPrivilege, UndefinedFunction, FeatureNotSupported)
"""What a server says that does not tell everybody about its log, as some that are rented."""

_REFUSED_OPTIONS: Final = "unsupported startup parameter"
"""What PgBouncer says of `options`, unless it is told to ignore them."""


def connect(server: PostgresServer, **more: Any) -> "psycopg.Connection[Any]":  # noqa: ANN401 - as psycopg's
    """Open a connection.

    Raises:
        psycopg.Error: that did not succeed.
    """
    try:
        connection = psycopg.connect(**(server.parameters() | more))
    except psycopg.OperationalError as error:
        _learn(server, error)
        connection = psycopg.connect(**(server.parameters() | more))
    _remember(server, connection)
    return connection


def _remember(server: PostgresServer, connection: "psycopg.BaseConnection[Any]") -> None:
    """Take down which host it was: a dark one in front of it costs the first who comes, only."""
    if not server.standby:
        there = connection.info.host, str(connection.info.port)
        hosts = [
            (each.get("host") or each.get("hostaddr"), each.get("port") or _PORT)
            for each in each_host(server)
        ]
        server.primaries.good = hosts.index(there) if there in hosts else None


class _Left(psycopg.AsyncConnection[Any]):
    """A connection that is left, and not cancelled, when nobody waits for it any more.

    A cancelled COMMIT that waits for its standby is committed at once, without it, for all to see
    (PostgreSQL, "canceling wait for synchronous replication"): after a failover it would be gone.
    Left alone it stays unseen until the standby has it. Other statements end by their own limit.
    """

    rank: Rank | None = None
    """Of the server, if there is a watch over which of them is the primary."""

    async def _try_cancel(self, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - psycopg's signature
        """Close the connection. What psycopg calls; `test_acknowledged.py` says that it does."""
        del timeout
        self.pgconn.finish()


async def connect_async(server: PostgresServer) -> "psycopg.AsyncConnection[Any]":
    """Open a connection for the event loop.

    Raises:
        psycopg.Error: that did not succeed.
        WrongPrimary: it is one to an old primary.
    """
    connection = await _connected(server)
    try:
        if server.primaries.watched and not server.learned.tells_no_rank:
            try:
                cursor = await connection.execute(_RANK)
                connection.rank = Rank._make(await cursor.fetchone() or ())
            except NO_RANK as error:
                tells_no_rank(server, error)
            server.primaries.require(connection.rank)
        # SQLAlchemy begins its transactions as the driver does.
        await connection.set_autocommit(False)
    except BaseException:
        await connection.close()
        raise
    _remember(server, connection)
    return connection


async def connect_to_host(server: PostgresServer, number: int) -> "psycopg.AsyncConnection[Any]":
    """Open a connection to one of the hosts, whatever that is at the moment.

    Raises:
        psycopg.Error: that did not succeed.
    """
    host = each_host(server)[number]
    return await _connected(
        server,
        **host,
        target_session_attrs="any",
        # `move` asks who uses a database, which those who look do not.
        application_name="lalepass watch",
    )


async def _connected(server: PostgresServer, **more: Any) -> _Left:  # noqa: ANN401 - as psycopg's
    try:
        return await _Left.connect(**(server.parameters() | more))
    except psycopg.OperationalError as error:
        _learn(server, error)
    return await _Left.connect(**(server.parameters() | more))


def _learn(server: PostgresServer, error: psycopg.OperationalError) -> None:
    """Remember what it does not take, so that it is tried once and not with each connection.

    Raises:
        psycopg.OperationalError: it says nothing of that.
    """
    if _REFUSED_OPTIONS not in str(error):
        raise error
    server.learned.refuses_options = True


class OpenSession:
    """A session with the connection that it belongs to."""

    def __init__(self, connection: "psycopg.Connection[Any]", *, rank: Rank | None = None) -> None:
        self.connection = connection
        self.rank = rank
        """Of the server, if there is a watch over which of them is the primary."""
        self.session = PostgresSession(connection)
        self._line = _Line(connection)

    @classmethod
    def to(cls, server: PostgresServer) -> Self:
        """Connect.

        Raises:
            psycopg.Error: that did not succeed.
            WrongPrimary: it is an old primary.
        """
        connection = connect(server, cursor_factory=RawCursor, row_factory=tuple_row)
        try:
            return cls(connection, rank=rank_of(server, connection))
        except BaseException:
            connection.close()
            raise

    def cut(self) -> None:
        """End what it waits for. May be called on another thread."""
        self._line.cut()

    def close(self) -> None:
        """Close it, whatever state it is in."""
        self._line.close()
        with suppress(psycopg.Error, OSError):
            self.connection.close()


def rank_of(server: PostgresServer, connection: "psycopg.Connection[Any]") -> Rank | None:
    """Ask a server for its rank, if somebody wants to know. Its connection commits by itself.

    Raises:
        psycopg.Error: it did not say.
        WrongPrimary: it is an old primary.
    """
    if not server.primaries.watched or server.learned.tells_no_rank:
        return None
    try:
        with cut_after(server.timeout, connection):
            rank = Rank._make(connection.execute(_RANK).fetchone() or ())
    except NO_RANK as error:
        tells_no_rank(server, error)
        return None
    server.primaries.require(rank)
    return rank


def tells_no_rank(server: PostgresServer, error: psycopg.Error) -> None:
    """Remember that the server does not say which timeline it is on, and say so once."""
    if not server.learned.tells_no_rank:
        _log.warning(
            "the database server does not tell its timeline (%s): an old primary that goes on "
            "after another one was promoted can't be told from the new one",
            str(error).partition("\n")[0],
        )
    server.learned.tells_no_rank = True


class _Line:
    """The socket of a connection, by a number of our own.

    libpq closes its own when it finds the line broken, on its thread and whenever that is: by the
    time that it is to be cut, the number may be that of another socket.
    """

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._lock = threading.Lock()
        self._twin: int | None = os.dup(connection.pgconn.socket)

    def cut(self) -> None:
        """End what is waited for on it. May be called on any thread."""
        with self._lock, suppress(OSError):
            if self._twin is not None:
                with socket.socket(fileno=os.dup(self._twin)) as line:
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close our number of it. May be done twice."""
        with self._lock:
            twin, self._twin = self._twin, None
        if twin is not None:
            os.close(twin)


@contextmanager
def cut_after(seconds: float, connection: "psycopg.Connection[Any]") -> Iterator[None]:
    """Let nothing inside wait for longer on a connection.

    The server's own limit does not help with one that is gone, nor with a pooler that has none.
    """
    line = _Line(connection)
    timer = threading.Timer(seconds, line.cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        line.close()
