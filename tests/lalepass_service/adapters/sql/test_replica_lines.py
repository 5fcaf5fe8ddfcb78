"""What lies between us and a standby may be broken, or a pooler: no answer is another one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from lalepass_service.adapters.sql.fence import Why
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.core.model import Password
from tests.lalepass_service.adapters.sql.standbys import (
    Site,
    is_standby,
    prepared,
    server_at,
    site_on,
    with_account,
)
from tests.servers.faults import Link
from tests.servers.fixtures import left_out_if_missing
from tests.servers.pair import Pair
from tests.servers.pgbouncer import PgBouncer, pgbouncer
from tests.servers.postgres import Database as OnServer
from tests.servers.psql import url_of

pytestmark = pytest.mark.anyio


def at(port: int, pair: Pair, database: OnServer) -> PostgresServer:
    """Return how the service is told of what stands before one of the pair."""
    url = url_of(port, database=database.name)
    return PostgresServer(url=url, password=Password(pair.primary.password))


@pytest.fixture
def link(postgres_pair: Pair) -> Iterator[Link]:
    with Link(postgres_pair.standby.port) as link:
        yield link


@pytest.fixture
async def far(postgres_pair: Pair, pair_database: OnServer, link: Link) -> AsyncIterator[Site]:
    prepared(postgres_pair, pair_database)
    primary = server_at(postgres_pair.primary, database=pair_database.name)
    async with site_on(primary, at(link.port, postgres_pair, pair_database)) as site:
        await with_account(site)
        await site.reading_from_standby()
        yield site


def slow(link: Link) -> None:
    """More than a read may take."""
    link.delay = 0.3


@pytest.mark.parametrize(
    "fault", [slow, Link.refuse, Link.reset, Link.reset_once, Link.half_open, Link.lose]
)
async def test_the_line_to_a_standby_fails(
    far: Site, link: Link, fault: Callable[[Link], None]
) -> None:
    fault(link)
    for version in range(2, 6):
        assert await far.write() == version
        assert await asyncio.gather(*(far.read() for _ in range(20))) == [version] * 20
    assert far.passed(Why.AWAY) > 0

    link.heal()
    await far.reading_from_standby()
    assert await far.read() == far.acknowledged


@pytest.fixture
def bouncer(postgres_pair: Pair) -> Iterator[PgBouncer]:
    with left_out_if_missing(), pgbouncer(postgres_pair.standby) as bouncer:
        yield bouncer


async def test_a_pooler_may_lead_to_a_standby_and_elsewhere(
    postgres_pair: Pair, pair_database: OnServer, bouncer: PgBouncer
) -> None:
    prepared(postgres_pair, pair_database)
    primary = server_at(postgres_pair.primary, database=pair_database.name)
    async with site_on(primary, at(bouncer.port, postgres_pair, pair_database)) as site:
        await with_account(site)
        await site.reading_from_standby()
        while not await is_standby(site):
            await site.reading_from_standby()

        postgres_pair.standby.pause_replay()
        version = await site.write()
        assert await site.read() == version
        await site.reading_from_primary(Why.LAGGING)
        postgres_pair.standby.resume_replay()
        await site.reading_from_standby()

        bouncer.point_at(postgres_pair.primary.port)
        await site.reading_from_primary()
        bouncer.point_at(postgres_pair.standby.port)
        await site.reading_from_standby()
        assert await site.read() == version
