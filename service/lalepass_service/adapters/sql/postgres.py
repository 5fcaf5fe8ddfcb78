"""A PostgreSQL server: what is to be known to connect to it, and how that is done.

Nothing here is particular to one connection: a pooler in transaction mode may give each transaction
another one. So there are no prepared statements, and nothing is SET.
"""

import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import (
    DeadlockDetected,
    FeatureNotSupported,
    InsufficientPrivilege,
    ReadOnlySqlTransaction,
    SerializationFailure,
    UndefinedFunction,
)
from psycopg.raw_cursor import RawCursor
from psycopg.rows import tuple_row

from lalepass_service.adapters.sql.primaries import Primaries
from lalepass_service.adapters.sql.session import PostgresSession
from lalepass_service.adapters.sql.standing import Rank
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import Password

# It tells of connections that were lost, with what the server said about them.
logging.getLogger("psycopg").setLevel(logging.ERROR)
_log: Final = logging.getLogger(__name__)

WRITER: Final = 0x4C616C65_00000001
"""The advisory lock of whoever writes anything but counters, one at a time over all processes.

It makes PostgreSQL what the code was written for: what is read inside such a transaction stays as
it is until its end, and numbers become visible in their order, so that who follows the feed or the
trail by them misses none. The price is a few hundred such changes a second."""

MIGRATION: Final = 0x4C616C65_00000002
"""The advisory lock of whoever changes the tables."""

_WRITTEN: Final = "pg_logical_emit_message(true, 'lalepass', '')"
"""A line in the log of the server, so that also a transaction that changes nothing is acknowledged
like one that does: what it has read may be a change that waits for its standby still."""

_WAITED_FOR: Final = """
    CASE current_setting('synchronous_commit') WHEN 'off'
        THEN set_config('synchronous_commit', 'on', true) END
"""
"""What is acknowledged is on the disk, though the server may be told not to wait for it, for speed:
or the last moments before its end would be lost. For this transaction only, as behind a pooler."""

LOCK: Final = f"SELECT pg_advisory_xact_lock({WRITER}), {_WRITTEN}, {_WAITED_FOR}"
LOCK_SHARED: Final = f"SELECT pg_advisory_xact_lock_shared({WRITER}), {_WRITTEN}"
ISOLATION: Final = "READ COMMITTED"
"""Whatever the role has by default: with any other, what is read is of before the lock."""
BEGIN_WRITING: Final = f"BEGIN ISOLATION LEVEL {ISOLATION}; {LOCK}"

AWAITED: Final = 1.5
"""Times as long as a statement may take: so long somebody waits for an answer of the hot path."""

_SHORTEST_CONNECT: Final = 2
"""Seconds. psycopg and libpq take less for this."""

_PORT: Final = "5432"

_PER_HOST: Final = ("host", "hostaddr", "port")

_RANK: Final = b"""
    SELECT system_identifier, CASE WHEN pg_is_in_recovery() THEN 0
        ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END
    FROM pg_control_system()
"""

NO_RANK: Final = (InsufficientPrivilege, UndefinedFunction, FeatureNotSupported)
"""What a server says that does not tell everybody about its log, as some that are rented."""

_PRIMARY: Final = {"target_session_attrs": "read-write"}
_BALANCES: Final = psycopg.pq.version() >= 160000  # noqa: PLR2004 - libpq 16
_STANDBY: Final = {
    "target_session_attrs": "standby",
    **({"load_balance_hosts": "random"} if _BALANCES else {}),
}
"""What libpq looks for among several hosts (PostgreSQL, "Parameter Key Words" of libpq)."""

_REFUSED_OPTIONS: Final = "unsupported startup parameter"
"""What PgBouncer says of `options`, unless it is told to ignore them."""


class Learned:
    """What was found out about a server while connecting."""

    refuses_options = False
    tells_no_rank = False
    """Whether an old primary can't be told from a newer one."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """Where the database is."""

    url: str = field(repr=False)
    """As libpq takes it, without the password: several hosts, `target_session_attrs`, `sslmode`."""
    password: Password | None = field(default=None, repr=False)
    timeout: float = 3.0
    """Seconds that a statement, and a connection, may take."""
    connections: int = 4
    standby: bool = False
    """Whether a server is wanted that is read from only, any of those in the address."""
    learned: Learned = field(default_factory=Learned, repr=False, compare=False)
    primaries: Primaries = field(default_factory=Primaries, repr=False, compare=False)
    """Which of the hosts is the one, as far as that is known."""

    def __str__(self) -> str:
        """Return the address: who reads it in a message needs no more."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    def parameters(self) -> dict[str, Any]:
        """Return what psycopg's `connect` takes.

        The server watches over time as well, unless it is a pooler that refuses to be told: what a
        process leaves behind that is cut off from it would otherwise hold its locks for hours.
        """
        milliseconds = round(self.timeout * 1000)
        given = _given(self.url)
        hosts = _hosts(given)
        known: dict[str, Any] = {
            "application_name": "lalepass",
            # Whatever the role has.
            "client_encoding": "UTF8",
            # For each of them: the last one should have its turn while somebody still waits.
            "connect_timeout": max(_SHORTEST_CONNECT, round(self.timeout / len(hosts))),
            # A peer that is gone is noticed, also in the middle of an answer.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": milliseconds * 2,
            **(_STANDBY if self.standby else _PRIMARY),
            # the address wins
            **given,
            **({} if self.standby else _ordered(hosts, first=self.primaries.first)),
            "autocommit": True,
            "prepare_threshold": None,
        }
        if self.password is not None:
            known["password"] = self.password.reveal()
        if not self.learned.refuses_options and "options" not in known:
            known["options"] = _options(milliseconds)
        return known


def _given(url: str) -> dict[str, Any]:
    return {name: value for name, value in conninfo_to_dict(url).items() if value is not None}


def _hosts(given: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is particular to each host of an address, in their order.

    One, if it is not said how they belong together: libpq says what is wrong with it.
    """
    lists = {name: str(given[name]).split(",") for name in _PER_HOST if given.get(name)}
    count = max(map(len, lists.values()), default=1)
    if any(len(each) not in {1, count} for each in lists.values()):
        return [{}]
    return [
        {name: each[number % len(each)] for name, each in lists.items()} for number in range(count)
    ]


def _ordered(hosts: list[dict[str, str]], *, first: int | None) -> dict[str, str]:
    """Return how to have one of several hosts tried before the others."""
    if first is None or not 0 <= first < len(hosts) or len(hosts) == 1:
        return {}
    tried = [hosts[first], *hosts[:first], *hosts[first + 1 :]]
    order = {name: ",".join(each[name] for each in tried) for name in hosts[first]}
    return {**order, "load_balance_hosts": "disable"} if _BALANCES else order


def _options(milliseconds: int) -> str:
    settings: Mapping[str, int | str] = {
        # What psycopg can read of times, whatever the role has.
        "datestyle": "ISO",
        "statement_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds * 2,
        "tcp_keepalives_idle": 5,
        "tcp_keepalives_interval": 2,
        "tcp_keepalives_count": 3,
    }
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


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
            for each in _hosts(_given(server.url))
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
    host = _hosts(_given(server.url))[number]
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


def hosts_of(server: PostgresServer) -> list[str]:
    """Return a name for each host of the address, in their order."""
    return [
        ":".join(filter(None, (each.get("host") or each.get("hostaddr"), each.get("port"))))
        for each in _hosts(_given(server.url))
    ]


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


def passing(error: Exception) -> bool:
    """Whether the same may succeed when it is done again at once."""
    return isinstance(error, DeadlockDetected | SerializationFailure)


def moved(error: Exception) -> bool:
    """Whether it says that this server is not the one that is written to, any more."""
    return isinstance(error, ReadOnlySqlTransaction)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what psycopg and the system raise into StoreUnavailable.

    Not IntegrityError, which says something about the data.
    """
    try:
        yield
    except psycopg.IntegrityError:
        raise
    except (psycopg.Error, OSError) as exc:
        raise StoreUnavailable from exc
