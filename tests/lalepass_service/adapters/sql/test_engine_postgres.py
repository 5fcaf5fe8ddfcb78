"""What everything but the hot path does when its server is in trouble."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import func, insert, select

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.adapters.sql.session import Session, text_of
from lalepass_service.adapters.sql.tables import retired_names
from lalepass_service.core.errors import StoreUnavailable
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.databases import server_of
from tests.servers.pair import Pair
from tests.servers.postgres import Database as OnServer
from tests.servers.postgres import Postgres
from tools.processes import LOOPBACK

pytestmark = pytest.mark.anyio

_FENCE = 60


@pytest.fixture
def broken(pair_database: OnServer) -> PostgresServer:
    server = replace(server_of(pair_database), timeout=0.5)
    upgrade(server)
    return server


async def retire(database: Database, name: str) -> None:
    async with database.write() as connection:
        await connection.execute(insert(retired_names).values(localpart=name, retired_at=NOW))


async def count(database: Database) -> int:
    async with database.read() as connection:
        query = select(func.count()).select_from(retired_names)
        return int((await connection.execute(query)).scalar_one())


async def soon(work: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(_FENCE):
        while True:
            try:
                return await work()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def test_a_restart_between_two_changes_is_noticed_by_nobody(
    broken: PostgresServer, postgres_pair: Pair
) -> None:
    database = open_server(broken)
    await retire(database, "before")
    postgres_pair.primary.restart()

    await retire(database, "after")
    assert await count(database) == 2
    await database.close()


async def test_what_is_acknowledged_survives_the_server_though_it_need_not_wait_for_its_disk(
    broken: PostgresServer, pair_database: OnServer, postgres_pair: Pair
) -> None:
    """`synchronous_commit = off` is common advice for speed, and is for the whole server."""
    primary = postgres_pair.primary
    primary.sql(f"ALTER DATABASE {pair_database.name} SET synchronous_commit = off")
    # So that nothing is written in time by chance.
    primary.set("wal_writer_delay", "10s")
    database, hot = open_server(broken), PostgresPaths.open(broken)
    try:
        for number in range(3):
            await retire(database, f"cold-{number}")
            await hot.write(partial(_retire_hot, name=f"hot-{number}"))
            primary.kill()
            primary.start()
    finally:
        primary.set("wal_writer_delay", None)

    assert await count(database) == 6
    await hot.close()
    await database.close()


def _retire_hot(session: Session, *, name: str) -> None:
    insert = "INSERT INTO retired_names (localpart, retired_at) VALUES (?, ?)"
    session.run(insert, (name, text_of(NOW)))


async def test_a_server_that_stops_in_its_tracks_holds_nobody_and_blocks_no_loop(
    broken: PostgresServer, postgres_pair: Pair
) -> None:
    database = open_server(broken)
    await retire(database, "before")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    postgres_pair.primary.pause()
    try:
        async with asyncio.timeout(_FENCE):
            asked = [retire(database, f"n{n}") for n in range(3)]
            asked += [database.ping(0.5) for _ in range(6)]
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        postgres_pair.primary.resume()
    ticking.cancel()

    assert all(isinstance(each, StoreUnavailable) for each in outcomes)
    assert ticks > 20
    await soon(lambda: retire(database, "after"))
    assert await count(database) >= 2
    async with asyncio.timeout(_FENCE):
        await database.close()


async def test_after_a_failover_the_new_primary_is_used(
    broken: PostgresServer, pair_database: OnServer, postgres_pair: Pair
) -> None:
    database = open_server(replace(broken, url=postgres_pair.url(pair_database.name)))
    await retire(database, "before")
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    postgres_pair.fail_over()

    await soon(lambda: retire(database, "after"))
    assert await count(database) == 2
    await database.close()


async def test_a_primary_that_takes_no_writes_any_more_is_left(
    broken: PostgresServer, pair_database: OnServer, postgres_pair: Pair
) -> None:
    database = open_server(replace(broken, url=postgres_pair.url(pair_database.name)))
    await retire(database, "before")
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    postgres_pair.promote_away()
    old = postgres_pair.standby
    old.set("default_transaction_read_only", "on")
    try:
        await soon(lambda: retire(database, "after"))
    finally:
        old.set("default_transaction_read_only", None)
    query = "SELECT count(*) FROM retired_names"
    assert postgres_pair.primary.sql(query, database=pair_database.name) == "2"
    await database.close()


async def test_it_is_ready_also_when_the_first_of_its_hosts_is_dark(
    postgres_database: OnServer, postgres_server: Postgres
) -> None:
    upgrade(server_of(postgres_database))
    with closing(socket.create_server((LOOPBACK, 0))) as dark:  # takes connections, says nothing
        there = f"{LOOPBACK}:{postgres_server.port}"
        port = dark.getsockname()[1]
        url = server_of(postgres_database).url.replace(there, f"{LOOPBACK}:{port},{there}")
        assert url.count(LOOPBACK) == 2
        database = open_server(replace(server_of(postgres_database), url=url, timeout=2.0))

        # Nobody who asks waits for as long as it takes; it goes on behind them.
        await soon(lambda: database.ping(0.3))
        await database.close()
