"""Does PostgreSQL find one of ten million accounts as fast as one of a thousand?

Both databases are on one server, filled in SQL, with tables and indexes as migrations make them,
and warm. Accounts are chosen at random, and each is looked up as a check does it: by
`SqlLookup` on `PostgresPaths`. One of each in turn, so that both see the same machine.
"""

import asyncio
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psycopg

from bench.figures import Figure, asked_to_be_quick, at_most, left_out, others, report
from bench.load import percentile, record
from bench.sites import MADE
from lalepass_service.adapters.sql.entrance import SqlLookup
from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password
from tests.servers.pair import primary
from tests.servers.postgres import SUPERUSER, Database, Postgres
from tests.servers.server import Missing
from tools.processes import LOOPBACK

FEW: Final = 1000
MANY: Final = 10_000_000
_CHUNK: Final = 500_000
_FILL_SECONDS: Final = 600.0
"""After that it goes on with as many as there are, and says so."""

_BYTES: Final = 600
"""On disk, of one account with its indexes, in plenty."""

_SETTINGS: Final = {
    # All of it is in memory, as a server of ten million accounts would have it.
    "shared_buffers": "6GB",
    # Filled once, and thrown away.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "256MB",
}
# Ids look like those of accounts and are in order, so that indexes grow at their end: that is
# minutes instead of an hour, and makes pages as full as an index that is made later has them.
_ID: Final = (
    "lpad(to_hex(n::bigint * 400), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(n), 12, '0')"
)
_USERS: Final = f"""
    INSERT INTO users (id, localpart, state, admin, created_at)
    SELECT {_ID}, 'u' || lpad(n::text, 8, '0'), 'active', false, %(made)s::timestamptz
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
"""  # noqa: S608 - of constants
_PASSWORDS: Final = f"""
    INSERT INTO passwords (user_id, phc, changed_at)
    SELECT {_ID}, %(phc)s, %(made)s::timestamptz
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
"""  # noqa: S608 - of constants
_WARM: Final = """
    SELECT sum(pg_prewarm(c.oid)) FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = relnamespace
    WHERE s.nspname = 'public' AND c.relkind IN ('r', 'i') AND pg_relation_size(c.oid) > 0
"""


class NoRoom(Exception):
    """The machine has not what ten million accounts take."""


@dataclass(frozen=True)
class Filled:
    """A database, and how many accounts it has."""

    database: Database
    accounts: int


class Way:
    """Looks accounts up as a check does."""

    def __init__(self, filled: Filled) -> None:
        database = filled.database
        server = PostgresServer(url=database.url, password=Password(database.server.password))
        self._accounts = filled.accounts
        self._store = open_server(server)
        self._paths = PostgresPaths.open(server)
        # Records are not wrapped: with the keys of so many it would take an hour to fill.
        self._lookup = SqlLookup(self._paths, SqlUsers(self._store))

    async def __aenter__(self) -> Self:
        """It connects with its first use."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._paths.close()
        await self._store.close()

    async def milliseconds(self, *, known: bool) -> float:
        """Look up somebody at random, or a name that nobody has."""
        number = random.randrange(self._accounts)  # noqa: S311 - spread and not secret
        near = f"{random.getrandbits(32):08x}"
        name = ByLocalpart(f"u{number:08d}" if known else f"nobody{number}")
        began = time.perf_counter()
        found = await self._lookup.look_up(name, near=near)
        took = time.perf_counter() - began
        if (found is not None) != known:
            raise RuntimeError(f"{name} should{'' if known else ' not'} be there")
        return 1000 * took


def require_room(accounts: int, folder: Path) -> None:
    """See whether the disk and the memory have twice what is needed.

    Raises:
        NoRoom: they have not.
    """
    needed = 2 * accounts * _BYTES
    for what, free in (("disk", shutil.disk_usage(folder).free), ("memory", _free_memory())):
        if free < needed:
            raise NoRoom(
                f"{accounts} accounts want {needed >> 30} GiB of {what}, and {free >> 30} are free"
            )


def _free_memory() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("the kernel does not say how much memory is free")


def chunks(accounts: int) -> Iterator[tuple[int, int]]:
    """Divide the numbers of accounts into ranges, both ends among them."""
    for first in range(0, accounts, _CHUNK):
        yield first, min(first + _CHUNK, accounts) - 1


@contextmanager
def server() -> Iterator[Postgres]:
    """Start a PostgreSQL on the disk.

    Raises:
        Missing: it is not installed.
    """
    # Only a durable one is put there.
    with primary(durable=True, settings=_SETTINGS) as made:
        yield made


def fill(on: Postgres, accounts: int) -> Filled:
    """Make a database with so many accounts, or as many as there is time for, and warm it."""
    database, filled, began = on.create_database(), 0, time.monotonic()
    upgrade(PostgresServer(url=database.url, password=Password(on.password)))
    known = {"made": MADE, "phc": record().decode()}
    superuser = f"postgresql://{SUPERUSER}@{LOOPBACK}:{on.port}/{database.name}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        # One after the other, so no row has to be looked for that it refers to.
        connection.execute("SET session_replication_role = replica")
        for first, last in chunks(accounts):
            for statement in (_USERS, _PASSWORDS):
                connection.execute(statement, {**known, "first": first, "last": last})
            filled = last + 1
            if time.monotonic() - began > _FILL_SECONDS:
                break
        connection.execute("VACUUM (ANALYZE) users, passwords")
        connection.execute("CREATE EXTENSION pg_prewarm")
        connection.execute(_WARM)
    print(f"filled with {filled} accounts in {time.monotonic() - began:.0f} s", flush=True)
    return Filled(database, filled)


@dataclass(frozen=True, kw_only=True)
class Round:
    """Milliseconds of look-ups: among few accounts, and among many."""

    few: Sequence[float]
    many: Sequence[float]

    def ratio(self, share: float) -> float:
        """Compare the two at a percentile."""
        return percentile(self.many, share) / percentile(self.few, share)


async def turns(few: Way, many: Way, *, count: int, known: bool) -> Round:
    """Look up one of each in turn, each time in the other order."""
    times: Mapping[Way, list[float]] = {few: [], many: []}
    for number in range(count):
        for way in (few, many) if number % 2 else (many, few):
            times[way].append(await way.milliseconds(known=known))
    return Round(few=times[few], many=times[many])


async def measure(
    few: Filled, many: Filled, *, rounds: int, count: int
) -> tuple[list[Round], list[Round]]:
    """Return rounds with names that are there, and with names that are not."""
    async with Way(few) as one, Way(many) as other:
        await turns(one, other, count=count, known=True)
        there, absent = [], []
        for _ in range(rounds):
            there.append(await turns(one, other, count=count, known=True))
            absent.append(await turns(one, other, count=count // 4, known=False))
    return there, absent


def figures(there: Sequence[Round], absent: Sequence[Round], *, accounts: int) -> list[Figure]:
    """Compare each round with itself, and say the medians."""
    median, made = statistics.median, []
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        few = median(percentile(each.few, share) for each in there)
        many = median(percentile(each.many, share) for each in there)
        ratio = median(each.ratio(share) for each in there)
        made += [
            Figure(f"{FEW} accounts, {name}", few, "ms"),
            Figure(f"{accounts} accounts, {name}", many, "ms"),
            at_most(f"{name}, as times that of {FEW}", ratio, 1.1),
        ]
    nobody = median(each.ratio(0.5) for each in absent)
    made.append(Figure("a name that nobody has, p50, as times the same", nobody))
    return made


def main() -> None:
    """Measure and report."""
    quick = asked_to_be_quick(__doc__)
    accounts = 100_000 if quick else MANY
    try:
        require_room(accounts, Path(tempfile.gettempdir()))
        with server() as made:
            few, many = fill(made, FEW), fill(made, accounts)
            size = int(many.database.sql("SELECT pg_database_size(current_database())"))
            load = others()
            there, absent = asyncio.run(
                measure(few, many, rounds=3 if quick else 15, count=500 if quick else 2000)
            )
    except (Missing, NoRoom) as why:
        left_out("lookup", str(why))
        return
    report(
        "lookup",
        "The look-up of a check on PostgreSQL, of somebody at random, all in memory:",
        [
            load,
            Figure("the larger database", size / 2**30, "GiB"),
            *figures(there, absent, accounts=many.accounts),
        ],
    )


if __name__ == "__main__":
    main()
