"""An installation whose parts can be broken: replicas, PostgreSQL with a standby, Valkey.

The service comes to each database through a link of its own, and finds the primary itself.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg

from tests.servers.faults import Link
from tests.servers.pair import Pair
from tests.servers.pgbouncer import PgBouncer, pgbouncer
from tests.servers.postgres import SUPERUSER, Database
from tests.servers.psql import ROLE, url_of
from tests.servers.services import Services, Settings, services
from tests.servers.valkey import Valkey
from tools.processes import LOOPBACK

DATABASE_SECONDS: Final = 1.0
"""What the replicas are set to wait for a statement, so that tests do not wait for long."""

_PAUSE: Final = 0.05


@dataclass
class Site:
    """Such an installation."""

    pair: Pair
    links: tuple[Link, Link]
    """To `pair.both`."""
    valkey: Valkey
    services: Services
    database: Database
    bouncer: PgBouncer | None = None
    """If there is one, it is what the replicas know of the database."""
    _guest: "psycopg.Connection[tuple[object, ...]] | None" = field(default=None, repr=False)

    @property
    def urls(self) -> list[str]:
        """Where the replicas answer."""
        return [replica.url for replica in self.services.replicas]

    def heal(self, *, synchronous: bool = True) -> None:
        """Have all parts well, and a standby that each commit waits for, or not."""
        self.unlock_tables()
        for link in self.links:
            link.heal()
        self.valkey.resume()
        if not self.valkey.alive:
            self.valkey.start()
        self.pair.heal()
        self.take_connections()
        if synchronous:
            self.pair.primary.require_standby(self.pair.standby)
        if self.bouncer is not None:
            self.bouncer.resume()
            self.bouncer.point_at(self.link_of_primary.port)
            if not self.bouncer.alive:
                self.bouncer.start()

    def have_first_primary(self) -> None:
        """Have the first of the two be the primary, whom clients ask first."""
        if self.pair.primary is not self.pair.both[0]:
            self.pair.fail_over()
            self.pair.rejoin()

    @property
    def link_of_primary(self) -> Link:
        """The way to whoever is the primary now."""
        return self.links[self.pair.both.index(self.pair.primary)]

    def lock_tables(self) -> None:
        """Have every statement about accounts wait, and so every connection be taken."""
        self._guest = psycopg.connect(
            host=LOOPBACK,
            port=self.pair.primary.port,
            user=SUPERUSER,
            dbname=self.database.name,
            autocommit=True,
        )
        self._guest.execute("BEGIN")
        self._guest.execute("LOCK TABLE users, changes, tokens IN ACCESS EXCLUSIVE MODE")
        # Standbys have to hear of it, for which nothing else may be in the log.
        self.pair.primary.sql("SELECT pg_switch_wal()")
        self.pair.standby.wait_for_replay(self.pair.primary)

    def unlock_tables(self) -> None:
        """End that. Nothing if it is not so."""
        if self._guest is not None:
            self._guest.close()
            self._guest = None

    def refuse_connections(self) -> None:
        """Have the servers take no connection of the service, and end those that they have."""
        self.pair.primary.sql(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
        self.pair.standby.wait_for_replay(self.pair.primary)
        for server in self.pair.both:
            server.sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"  # noqa: S608 - a name of ours
            )

    def take_connections(self) -> None:
        """End that."""
        self.pair.primary.sql(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


@contextmanager
def site(
    directory: Path,
    *,
    pair: Pair,
    valkey: Valkey,
    people: Mapping[str, str],
    replicas: int = 2,
    pooled: bool = False,
    settings: Settings | None = None,
) -> Iterator[Site]:
    """Make one, started and well; it is gone afterwards, but for the servers that were given.

    Raises:
        Missing: PgBouncer is not installed, and it is to be `pooled`.
    """
    with ExitStack() as stack:
        links = (
            stack.enter_context(Link(pair.both[0].port)),
            stack.enter_context(Link(pair.both[1].port)),
        )
        database = pair.create_database()
        stack.callback(_drop, pair, database.name)
        bouncer = None
        if pooled:
            target = links[pair.both.index(pair.primary)].port
            bouncer = stack.enter_context(pgbouncer(pair.primary, target=target))
        ports = (bouncer.port,) if bouncer else tuple(link.port for link in links)
        replicas_of = {} if bouncer else {"replica_url": url_of(*ports, database=database.name)}
        # or nothing is read from standbys: docs/postgresql.md
        pair.primary.sql(f"GRANT pg_read_all_stats TO {ROLE}")
        given: dict[str, dict[str, object]] = {
            "database": {
                "url": url_of(*ports, database=database.name),
                "password_path": str(pair.primary.password_path),
                "timeout": DATABASE_SECONDS,
                **replicas_of,
            },
            "valkey": {"url": valkey.new_url(), "replicas": replicas},
            # A thread for each core is for a machine of one's own.
            "hashing": {"threads": 1},
            # A command takes half as long without.
            "passwords": {"builtin_blocklist": False},
        }
        for section, options in (settings or {}).items():
            given.setdefault(section, {}).update(options)
        made = stack.enter_context(
            services(directory, count=replicas, settings=given, people=people)
        )
        yield Site(pair, links, valkey, made, database, bouncer)


def until(fact: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait for it, and return how many seconds that took.

    Raises:
        AssertionError: so many were not enough.
    """
    began = time.monotonic()
    while not fact():
        assert time.monotonic() < began + seconds, f"not within {seconds:g} s: {what}"
        time.sleep(_PAUSE)  # noqa: TID251 - with a deadline
    return time.monotonic() - began


def _drop(pair: Pair, name: str) -> None:
    pair.heal()
    pair.primary.drop_database(name)
