"""A primary, a standby, and both: for tests that break them."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Final

from tests.servers.postgres import SUPERUSER, Database, Postgres
from tests.servers.psql import ROLE, Refused, installed, quoted, run_as_account, url_of
from tests.servers.server import folder
from tools.files import write_private
from tools.processes import LOOPBACK

_NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})
_RULES: Final = f"""
host all {SUPERUSER} {LOOPBACK}/32 trust
host replication {SUPERUSER} {LOOPBACK}/32 trust
host all all {LOOPBACK}/32 scram-sha-256
"""
_READ_WRITE: Final = MappingProxyType({"target_session_attrs": "read-write"})


class Pair:
    """Two servers of PostgreSQL, which may change their parts."""

    def __init__(self, first: Postgres, second: Postgres) -> None:
        self.both = (first, second)
        self.primary, self.standby = first, second

    def create_database(self) -> Database:
        """Make an empty database, which the standby has, too."""
        database = self.primary.create_database()
        self.standby.wait_for_replay(self.primary)
        return database

    def url(self, database: str, *, options: Mapping[str, str] = _READ_WRITE) -> str:
        """Return the URL that names both, and finds the primary unless `options` say otherwise."""
        return url_of(*(server.port for server in self.both), database=database, options=options)

    def settings(self, database: str) -> dict[str, dict[str, str]]:
        """Return the same as settings of the service."""
        password_path = str(self.primary.password_path)
        return {"database": {"url": self.url(database), "password_path": password_path}}

    def fail_over(self) -> None:
        """Kill the primary and promote the standby. The old primary is left down."""
        self.primary.kill()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def promote_away(self) -> None:
        """Promote the standby while the primary goes on, and believes that it is one."""
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def rejoin(self) -> None:
        """Let the old primary follow the new one."""
        self.standby.follow(self.primary)

    def heal(self) -> None:
        """Have a primary and a standby that follows at once, whatever has happened to them."""
        for server in (self.primary, self.standby):
            server.resume()
            if not server.alive:
                server.start()
        if self.standby.is_primary() and not self.primary.is_primary():
            self.primary, self.standby = self.standby, self.primary
        self.primary.require_standby(None)
        if self.standby.is_primary() or not self._follows():
            self.rejoin()
        self.standby.delay_replay(0)
        self.standby.resume_replay()
        self.standby.wait_for_replay(self.primary)

    def _follows(self) -> bool:
        with suppress(TimeoutError, Refused):
            self.primary.wait_for_standby(self.standby, seconds=5)
            return True
        return False


@contextmanager
def primary(
    *,
    name: str = "first",
    durable: bool = False,
    settings: Mapping[str, str] = _NO_SETTINGS,
) -> Iterator[Postgres]:
    """Make a primary with ROLE and no databases, started; it is gone afterwards.

    A `durable` one writes through to the disk, and is as slow as that.

    Raises:
        Missing: PostgreSQL is not installed.
    """
    with folder("postgres", private=True, on_disk=durable) as directory:
        server = Postgres(name=name, directory=directory, durable=durable, settings=settings)
        run_as_account(
            *(installed("initdb"), "-D", str(server.data), "-U", SUPERUSER, "--no-sync"),
            *("--encoding", "UTF8", "--locale", "C", "--auth", "trust", "--no-instructions"),
            # Each base backup has a whole segment, of 16 MB unless told otherwise.
            *("--wal-segsize", "1"),
            directory=directory,
        )
        (server.data / "pg_hba.conf").write_text(_RULES, encoding="utf-8")
        password = secrets.token_urlsafe(24)
        write_private(server.password_path, password)
        try:
            server.start()
            server.sql(f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD {quoted(password)}")
            yield server
        finally:
            server.discard()


@contextmanager
def standby(
    of: Postgres,
    *,
    name: str = "second",
    durable: bool = False,
    synchronous: bool = False,
    apply_delay: float = 0.0,
    settings: Mapping[str, str] = _NO_SETTINGS,
) -> Iterator[Postgres]:
    """Make a standby that follows, with a slot of its own; it is gone afterwards.

    `apply_delay` is in seconds. A `synchronous` one has each commit on its disk before the client
    of the primary hears of it.
    """
    server = Postgres(name=name, directory=of.directory, durable=durable, settings=settings)
    try:
        server.follow(of)
        if synchronous:
            of.require_standby(server)
        if apply_delay:
            server.delay_replay(apply_delay)
        yield server
    finally:
        server.discard()
        if of.alive:
            # For a primary that others go on with.
            of.resume()
            with suppress(Refused):
                of.require_standby(None)
                of.drop_slot(name)


@contextmanager
def pair(*, durable: bool = False) -> Iterator[Pair]:
    """Make a pair, started; it is gone afterwards.

    Raises:
        Missing: PostgreSQL is not installed.
    """
    with primary(durable=durable) as first, standby(first, durable=durable) as second:
        yield Pair(first, second)
