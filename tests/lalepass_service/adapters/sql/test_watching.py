"""An old primary that goes on beside a newer one is left, by every way to the database."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace

import psycopg
import pytest
from sqlalchemy import insert, select

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.fence import Fences
from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.adapters.sql.primaries import Rank, Seen, WrongPrimary
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.tables import retired_names
from lalepass_service.adapters.sql.watching import Watch
from lalepass_service.core.errors import StoreUnavailable
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.databases import server_of
from tests.lalepass_service.waiting import until
from tests.servers.faults import Link
from tests.servers.pair import Pair
from tests.servers.postgres import Database as OnServer
from tests.servers.psql import url_of

pytestmark = pytest.mark.anyio

_FENCE = 30
_RETIRE = "INSERT INTO retired_names VALUES (?, '2026-01-01')"


@dataclass
class Ways:
    """All ways to a database, with one watch over it."""

    server: PostgresServer
    watch: Watch
    database: Database
    hot: PostgresPaths
    fences: Fences

    async def there(self) -> list[set[str]]:
        """Return what each way has."""

        def names(session: Session) -> set[str]:
            return {name for (name,) in session.run("SELECT localpart FROM retired_names")}

        async with self.database.read() as connection:
            by_engine = set((await connection.execute(select(retired_names.c.localpart))).scalars())
        return [await self.hot.read(names), by_engine]

    async def retire(self, name: str) -> None:
        async with self.database.write() as connection:
            await connection.execute(insert(retired_names).values(localpart=name, retired_at=NOW))


@asynccontextmanager
async def ways_to(server: PostgresServer) -> AsyncIterator[Ways]:
    watch = Watch(server)
    await watch.look()
    database = open_server(server)
    hot = PostgresPaths.open(server, threads=2)
    fences = Fences(server)
    try:
        yield Ways(server, watch, database, hot, fences)
    finally:
        await hot.close()
        await database.close()
        await watch.close()
        fences.close()


@pytest.fixture
def server(postgres_pair: Pair, pair_database: OnServer) -> PostgresServer:
    """Both of the pair, the primary first."""
    ports = (postgres_pair.primary.port, postgres_pair.standby.port)
    made = replace(
        server_of(pair_database), url=url_of(*ports, database=pair_database.name), timeout=1.0
    )
    upgrade(made)
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    return made


async def soon(watch: Watch, server: PostgresServer, timeline: int) -> None:
    async with asyncio.timeout(_FENCE):
        while server.primaries.timeline != timeline:
            await watch.look()


async def test_an_old_primary_is_left_by_all(
    server: PostgresServer,
    postgres_pair: Pair,
    pair_database: OnServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ways_to(server) as ways:
        before = server.primaries.timeline
        await ways.retire("before")
        assert await ways.there() == [{"before"}, {"before"}]
        fence = ways.fences.now()
        postgres_pair.standby.wait_for_replay(postgres_pair.primary)
        postgres_pair.promote_away()
        new, old = postgres_pair.primary, postgres_pair.standby
        new.sql("INSERT INTO retired_names VALUES ('new', now())", database=pair_database.name)
        # As yet nobody has looked: this is what the watch is for.
        assert await ways.there() == [{"before"}, {"before"}]

        with caplog.at_level(logging.WARNING):
            await soon(ways.watch, server, before + 1)

        assert server.primaries.writing == 2
        assert f"127.0.0.1:{new.port}" in caplog.text
        assert await ways.there() == [{"before", "new"}] * 2
        assert ways.fences.now().timeline == fence.timeline + 1
        await ways.retire("after")
        assert "after" not in old.sql(
            "SELECT localpart FROM retired_names", database=pair_database.name
        )
        assert server.primaries.dropped >= 3


async def test_an_old_primary_is_not_believed_either_when_the_new_one_is_away(
    server: PostgresServer, postgres_pair: Pair
) -> None:
    async with ways_to(server) as ways:
        await ways.there()
        before = server.primaries.timeline
        postgres_pair.promote_away()
        await soon(ways.watch, server, before + 1)
        postgres_pair.primary.kill()
        await ways.watch.look()

        with pytest.raises(StoreUnavailable):
            await ways.there()
        with pytest.raises(StoreUnavailable):
            await ways.database.ping(_FENCE)
        with pytest.raises(StoreUnavailable):
            await asyncio.to_thread(ways.fences.now)
        with pytest.raises(StoreUnavailable):
            await ways.retire("never")

        postgres_pair.primary.start()
        assert await ways.there() == [set(), set()]
        await ways.database.ping(_FENCE)


async def test_a_promotion_that_was_taken_back_is_believed_when_both_say_so(
    server: PostgresServer, postgres_pair: Pair
) -> None:
    async with ways_to(server) as ways:
        before = server.primaries.timeline
        postgres_pair.promote_away()
        await soon(ways.watch, server, before + 1)
        postgres_pair.primary.follow(postgres_pair.standby)

        await soon(ways.watch, server, before)
        assert await ways.there() == [set(), set()]


async def test_two_that_can_not_be_told_apart_are_not_changed(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with ways_to(server) as ways:
        rank = Rank(1, 2)
        two = [Seen(rank=rank, writes=True, server=name) for name in ("one", "other")]
        ways.watch.conclude(two)
        # One may just have been restarted.
        assert not server.primaries.split
        with caplog.at_level(logging.ERROR):
            ways.watch.conclude(two)

        assert server.primaries.standing.split
        assert "nothing is changed" in caplog.text
        with pytest.raises(WrongPrimary):
            await ways.retire("never")
        with pytest.raises(WrongPrimary):
            await ways.hot.write(lambda session: session.run(_RETIRE, ("never",)))

        await ways.watch.look()
        await ways.retire("again")


async def test_one_server_by_two_names_is_one(
    postgres_pair: Pair, pair_database: OnServer, server: PostgresServer
) -> None:
    port = postgres_pair.primary.port
    twice = replace(server_of(pair_database), url=url_of(port, port, database=pair_database.name))
    with closing(psycopg.connect(**server.parameters())):
        watch = Watch(twice)
        for _ in range(3):
            await watch.look()
        assert twice.primaries.writing == 1
        assert not twice.primaries.split
        await watch.close()


async def test_a_host_that_is_dark_holds_up_nobody_who_looks(
    postgres_pair: Pair, pair_database: OnServer
) -> None:
    with Link(postgres_pair.standby.port) as dark:
        dark.lose()
        ports = (dark.port, postgres_pair.primary.port)
        url = url_of(*ports, database=pair_database.name)
        watched = replace(server_of(pair_database), url=url, timeout=3.0)
        async with asyncio.timeout(_FENCE):
            watch = Watch(watched)
            for _ in range(3):
                await watch.look()
        assert watched.primaries.standing.host == 1
        assert watched.primaries.first == 1
        await watch.close()


async def test_it_goes_on_when_there_is_nobody(server: PostgresServer) -> None:
    nowhere = replace(server, url=url_of(1, 2, database="x"))
    watch = Watch(nowhere)
    running = asyncio.create_task(watch.run())
    await watch.look()
    await until(lambda: nowhere.primaries.watched)
    assert not running.done()
    assert nowhere.primaries.writing == 0
    running.cancel()
    await watch.close()
