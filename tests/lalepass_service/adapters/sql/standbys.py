"""A primary, its standby, and an account that is read from whichever of them may tell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.fence import Why
from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.adapters.sql.replica import ReplicaReads
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password, PasswordRecord, UserId, UserState
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.waiting import until
from tests.servers.pair import Pair
from tests.servers.postgres import Database as OnServer
from tests.servers.postgres import Postgres
from tests.servers.psql import ROLE, url_of

ALICE = UserId("id-alice")
_NAME = ByLocalpart("alice")


@dataclass
class Site:
    """One installation, with one process of the service. An account has one version at a time."""

    database: Database
    reads: ReplicaReads
    acknowledged: int = 0
    """The version of which its writer has heard that it is there."""
    written: int = 0
    users: SqlUsers = field(init=False)

    def __post_init__(self) -> None:
        self.users = SqlUsers(self.database, reads=self.reads)

    async def write(self) -> int:
        """Give the account another password, and another state, by turns."""
        self.written += 1
        version = self.written
        if version % 2:
            record = PasswordRecord(f"$v{version}$")
            later = NOW + timedelta(seconds=version)
            await self.users.set_password(ALICE, record, changed_at=later, act=ACT)
        else:
            state = UserState.DISABLED if version % 4 else UserState.ACTIVE
            await self.users.set_state(ALICE, state, act=ACT)
        self.acknowledged = version
        return version

    async def read(self) -> int:
        """Return the version that a check finds."""
        found = await self.users.credentials(_NAME)
        assert found is not None
        assert found.record is not None
        version = int(found.record.phc.strip("v$"))
        # The one of the password, or the one behind it: 4n + 2 disables, and 4n + 4 enables.
        disabled = found.user.state is UserState.DISABLED
        return version + (disabled == (version % 4 == 1))

    async def reading_from_standby(self) -> None:
        """Return as soon as a standby has answered."""
        before = self.reads.used

        async def one() -> bool:
            await self.read()
            return self.reads.used > before

        while not await one():
            await until(lambda: self.reads.up > 0)

    async def reading_from_primary(self, why: Why | None = None) -> None:
        """Return as soon as each connection is out of use, and the primary has answered for it."""
        before = self.passed(why)
        async with asyncio.timeout(60):
            while self.reads.up or self.passed(why) == before:
                assert await self.read() == self.acknowledged

    def passed(self, why: Why | None = None) -> int:
        """How many reads went to the primary, for this reason or any."""
        return self.reads.passed[why] if why else sum(self.reads.passed.values())


async def is_standby(site: Site) -> bool:
    """Say whether one more read is answered by a standby."""

    def work(session: Session) -> bool:
        return bool(session.run("SELECT pg_is_in_recovery()").fetchone()[0])

    return await site.reads.read(work)


def prepared(pair: Pair, database: OnServer) -> None:
    """Have the tables, and let the role see what standbys do."""
    upgrade(server_at(pair.primary, database=database.name))
    pair.primary.sql(f"GRANT pg_read_all_stats TO {ROLE}")
    pair.standby.wait_for_replay(pair.primary)


def server_at(*servers: Postgres, database: str, timeout: float = 3.0) -> PostgresServer:
    """Return how the service is told of these."""
    url = url_of(*(each.port for each in servers), database=database)
    return PostgresServer(url=url, password=Password(servers[0].password), timeout=timeout)


@asynccontextmanager
async def site_on(primary: PostgresServer, standbys: PostgresServer) -> AsyncIterator[Site]:
    """Open an installation that reads from standbys where that is as good."""
    database = open_server(primary)
    paths = PostgresPaths.open(primary)
    reads = ReplicaReads(paths, of=primary, standbys=replace(standbys, connections=2, standby=True))
    try:
        yield Site(database=database, reads=reads)
    finally:
        await reads.close()
        await paths.close()
        await database.close()


async def with_account(site: Site) -> Site:
    """Add the account that is read."""
    await site.users.add(a_user("alice"), PasswordRecord("$v0$"), reuse_name=False, act=ACT)
    await site.write()
    return site
