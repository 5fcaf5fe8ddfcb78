"""A PostgreSQL server: where it is, what it is told, what its errors mean.

Nothing here is particular to one connection: a pooler in transaction mode may give each transaction
another one. So there are no prepared statements, and nothing is SET.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import (
    DeadlockDetected,
    LockNotAvailable,
    ReadOnlySqlTransaction,
    SerializationFailure,
)

from lalepass_service.adapters.sql.primaries import Primaries
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import Password

# It tells of connections that were lost, with what the server said about them.
logging.getLogger("psycopg").setLevel(logging.ERROR)

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

_PER_HOST: Final = ("host", "hostaddr", "port")

_PRIMARY: Final = {"target_session_attrs": "read-write"}
_BALANCES: Final = psycopg.pq.version() >= 160000  # noqa: PLR2004 - libpq 16
_STANDBY: Final = {
    "target_session_attrs": "standby",
    **({"load_balance_hosts": "random"} if _BALANCES else {}),
}
"""What libpq looks for among several hosts (PostgreSQL, "Parameter Key Words" of libpq)."""


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


def each_host(server: PostgresServer) -> list[dict[str, str]]:
    """Return what is particular to each host of the address, in their order."""
    return _hosts(_given(server.url))


def hosts_of(server: PostgresServer) -> list[str]:
    """Return a name for each host of the address, in their order."""
    return [
        ":".join(filter(None, (each.get("host") or each.get("hostaddr"), each.get("port"))))
        for each in each_host(server)
    ]


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


def passing(error: Exception) -> bool:
    """Whether the same may succeed when it is done again at once."""
    return isinstance(error, DeadlockDetected | SerializationFailure)


def moved(error: Exception) -> bool:
    """Whether it says that this server is not the one that is written to, any more."""
    return isinstance(error, ReadOnlySqlTransaction)


def held(error: BaseException | None) -> bool:
    """Whether it says that somebody had a lock for longer than it was waited for."""
    return isinstance(error, LockNotAvailable)


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
