"""What it adds to a check that the accounts are on PostgreSQL, and the counters in Valkey.

One client, nothing else going on, each store asked in turn. And what a good login writes on the
primary, as PostgreSQL counts it itself.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figure, asked_to_be_quick, at_most, left_out, others, report
from bench.load import Client, Running, closed_loop, only_good, percentile
from bench.sites import PEOPLE, hash_seconds, settings_of, site
from tests.servers.pair import primary
from tests.servers.postgres import Database
from tests.servers.server import Missing
from tests.servers.valkey import valkey

FILE: Final = "a file"
SERVER: Final = "PostgreSQL"
BOTH: Final = "PostgreSQL and Valkey"

_CLIENTS: Final = 4
_MOST_PER_SECOND: Final = 200
"""Logins, with one hash at a time that takes at least five milliseconds."""
_TOLD: Final = 12.0
"""Seconds after which a process of PostgreSQL that has nothing to do has told what it counted
(`pgstat.c`: PGSTAT_IDLE_INTERVAL is 10)."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What PostgreSQL has counted so far."""

    transactions: int
    """Those that wrote anything, in all databases: such a one has a number (`xid`)."""
    rows: Mapping[str, int]
    """Written so far, by table."""
    trail: int
    """The number of the last entry."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What so many good logins have written."""

    logins: int
    transactions: int
    batches: int
    """Those among the transactions that wrote into the trail."""
    rows: Mapping[str, int]

    @property
    def beside(self) -> float:
        """Transactions of a login that are not of the trail."""
        return (self.transactions - self.batches) / self.logins

    @property
    def rows_beside(self) -> float:
        """Rows of a login that are not in the trail."""
        return sum(count for table, count in self.rows.items() if table != "audit") / self.logins


def count(database: Database) -> Counts:
    """Ask PostgreSQL what it has counted, once it has been told."""
    time.sleep(_TOLD)  # noqa: TID251 - nobody can be asked whether it has
    rows = database.sql(
        "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables"
    )
    return Counts(
        transactions=int(database.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())")),
        rows={
            name: int(written) for name, written in (row.split("\t") for row in rows.split("\n"))
        },
        trail=int(database.sql("SELECT coalesce(max(id), 0) FROM audit")),
    )


def between(database: Database, before: Counts, after: Counts) -> Written:
    """Return what was written between two counts, by good logins and nothing else."""
    entries = f"FROM audit WHERE id > {before.trail} AND id <= {after.trail}"
    logins = int(database.sql(f"SELECT count(*) {entries} AND outcome = 'accepted'"))
    return Written(
        logins=logins,
        transactions=after.transactions - before.transactions,
        batches=int(database.sql(f"SELECT count(DISTINCT xmin::text) {entries}")),
        rows={table: written - before.rows[table] for table, written in after.rows.items()},
    )


def writes(running: Running, database: Database, seconds: float) -> Written:
    """Log in for so long, each from where it came before."""
    # Where somebody comes from for the first time is written down once, and not once a login.
    uvloop.run(_known(running, min(PEOPLE, int(_MOST_PER_SECOND * seconds))))
    before = count(database)
    answers = uvloop.run(closed_loop(running, clients=_CLIENTS, seconds=seconds, placed=True))
    after = count(database)
    written = between(database, before, after)
    if written.logins != len(only_good(answers)):
        raise RuntimeError(f"{len(answers)} logins, of which {written.logins} are in the trail")
    return written


async def _known(running: Running, people: int) -> None:
    client = Client(running.service.port)
    for number in range(people):
        request = running.request(f"u{number}", ip=f"2001:db8:{number:x}::1")
        only_good([await client.ask(request)])
    client.close()


async def latencies(sites: Mapping[str, Running], turns: int) -> dict[str, list[float]]:
    """Return the milliseconds of one check after the other, each store once in each turn."""
    clients = {name: Client(running.service.port) for name, running in sites.items()}
    found: dict[str, list[float]] = {name: [] for name in sites}
    for number in range(-20, turns):
        for name, running in sites.items():
            answer = await clients[name].ask(running.request(f"u{number % PEOPLE}"))
            only_good([answer])
            if number >= 0:
                found[name].append(1000 * answer.seconds)
    for client in clients.values():
        client.close()
    return found


def added(found: Mapping[str, list[float]]) -> list[Figure]:
    """Say how long a check takes, and what each store adds to the first of them."""
    first, *more = found
    figures = []
    for name, milliseconds in found.items():
        figures += [
            Figure(f"{name}: a check, p50", statistics.median(milliseconds), "ms"),
            Figure(f"{name}: a check, p99", percentile(milliseconds, 0.99), "ms"),
        ]
    for name in more:
        # Of each turn by itself, since the machine is another one a second later.
        differences = [
            theirs - ours for ours, theirs in zip(found[first], found[name], strict=True)
        ]
        figures.append(
            Figure(f"{name}: added to {first}, p50", statistics.median(differences), "ms")
        )
    return figures


def told(name: str, written: Written, *, aim: bool) -> list[Figure]:
    """Say what was written for each login."""
    each = written.logins
    transactions, rows = f"{name}: writes for each login", f"{name}: rows for each login"
    return [
        at_most(transactions, written.beside, 0) if aim else Figure(transactions, written.beside),
        at_most(rows, written.rows_beside, 0) if aim else Figure(rows, written.rows_beside),
        Figure(f"{name}: rows of the trail for each login", written.rows["audit"] / each),
        Figure(f"{name}: batches of the trail for each login", written.batches / each),
    ]


def measure(folder: Path, *, turns: int, seconds: float) -> tuple[list[Figure], float]:
    """Start the three, and measure; also return what a hash takes."""
    length = hash_seconds()
    with ExitStack() as stack:
        # Who tidies up by itself writes as well.
        server = stack.enter_context(primary(settings={"autovacuum": "off"}))
        counters = stack.enter_context(valkey())
        alone, beside = server.create_database(), server.create_database()
        setups = {
            FILE: (None, settings_of()),
            SERVER: (alone, settings_of(database=alone)),
            BOTH: (beside, settings_of(database=beside, valkey=counters)),
        }
        sites = {
            name: stack.enter_context(
                site(folder / str(number), settings, database=database, seconds=length)
            )[0]
            for number, (name, (database, settings)) in enumerate(setups.items())
        }
        figures = [others(), *added(uvloop.run(latencies(sites, turns)))]
        figures += told(SERVER, writes(sites[SERVER], alone, seconds), aim=False)
        figures += told(BOTH, writes(sites[BOTH], beside, seconds), aim=True)
    return figures, length


def main() -> None:
    """Measure and report."""
    quick = asked_to_be_quick(__doc__)
    try:
        with tempfile.TemporaryDirectory() as directory:
            figures, length = measure(
                Path(directory), turns=100 if quick else 1000, seconds=3.0 if quick else 20.0
            )
    except Missing as missing:
        left_out("stores", str(missing))
        return
    title = f"One client, a sleep of {1000 * length:.1f} ms in the place of the hash:"
    report("stores", title, figures)


if __name__ == "__main__":
    main()
