"""How far a standby is behind, as it is shown."""

import asyncio
from dataclasses import replace
from math import isnan

import pytest

from lalepass_service.adapters.sql.lag import Lag
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.primaries import Primaries
from lalepass_service.adapters.sql.standing import Rank, Standing
from lalepass_service.core.model import Password
from tests.lalepass_service.waiting import until
from tests.servers.pair import Pair
from tests.servers.postgres import Database
from tests.servers.psql import url_of

pytestmark = pytest.mark.anyio


def lag(servers: Pair, database: Database) -> Lag:
    ports = [server.port for server in servers.both]
    url, password = url_of(*ports, database=database.name), Password(database.server.password)
    return Lag(
        of=PostgresServer(url=url, password=password),
        standbys=PostgresServer(url=url, password=password, standby=True),
    )


async def test_what_is_not_replayed_is_counted(
    postgres_pair: Pair, pair_database: Database
) -> None:
    looking = lag(postgres_pair, pair_database)
    assert isnan(looking.behind)
    # Others of the pair may have written a little meanwhile.
    assert await looking.look() < 100_000

    postgres_pair.standby.pause_replay()
    try:
        pair_database.sql("CREATE TABLE much AS SELECT generate_series(1, 20000) AS number")
        assert await looking.look() > 500_000
    finally:
        postgres_pair.standby.resume_replay()


async def test_without_one_of_them_it_is_not_known(
    postgres_pair: Pair, pair_database: Database
) -> None:
    looking = lag(postgres_pair, pair_database)
    postgres_pair.standby.kill()
    assert isnan(await looking.look())
    postgres_pair.standby.start()
    postgres_pair.primary.kill()
    assert isnan(await looking.look())


async def test_of_an_old_primary_it_is_not_known(
    postgres_pair: Pair, pair_database: Database
) -> None:
    ports = [server.port for server in postgres_pair.both]
    url = url_of(*ports, database=pair_database.name)
    server = PostgresServer(url=url, password=Password(pair_database.server.password))
    server.primaries.watched = True
    looking = Lag(of=server, standbys=replace(server, standby=True, primaries=Primaries()))
    assert not isnan(await looking.look())
    # A newer one was seen, of whichever history.
    server.primaries.standing = Standing(least=Rank(1, 2))
    assert isnan(await looking.look())


async def test_it_looks_again_and_again(postgres_pair: Pair, pair_database: Database) -> None:
    looking = lag(postgres_pair, pair_database)
    following = asyncio.create_task(looking.follow(pause=0.05))
    try:
        await until(lambda: looking.behind >= 0)
        postgres_pair.standby.kill()
        await until(lambda: isnan(looking.behind))
    finally:
        following.cancel()
