"""While the one synchronous standby is away, only so many transactions wait for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest

from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.adapters.sql.primaries import WrongPrimary
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.watching import Watch
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import Password
from tests.servers.fixtures import left_out_if_missing
from tests.servers.pair import Pair, pair

pytestmark = pytest.mark.anyio

_FENCE = 60
_CONNECTIONS = 3


@pytest.fixture
def waiting() -> Iterator[tuple[Pair, PostgresServer]]:
    """A pair of one's own: its primary may be stuck at the end."""
    with left_out_if_missing(), pair() as both:
        made = both.create_database()
        server = PostgresServer(
            url=both.url(made.name),
            password=Password(both.primary.password),
            timeout=0.5,
            connections=_CONNECTIONS,
        )
        upgrade(server)
        both.primary.require_standby(both.standby)
        yield both, server


@asynccontextmanager
async def watched(server: PostgresServer) -> AsyncIterator[PostgresPaths]:
    watch = Watch(server)
    await watch.look()
    watching = asyncio.create_task(watch.run())
    hot = PostgresPaths.open(server)
    yield hot
    watching.cancel()
    await asyncio.wait((watching,))
    await watch.close()
    await hot.close()


def left(both: Pair) -> int:
    return int(
        both.primary.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    )


def retire(name: str) -> Callable[[Session], None]:
    def work(session: Session) -> None:
        statement = "INSERT INTO retired_names VALUES (?, now()) ON CONFLICT DO NOTHING"
        session.run(statement, (name,))

    return work


async def soon(work: Callable[[], Any]) -> None:
    async with asyncio.timeout(_FENCE):
        while True:
            with suppress(StoreUnavailable):
                await work()
                return
            await asyncio.sleep(0.05)


async def test_when_many_wait_already_nobody_else_is_sent_to_wait(
    waiting: tuple[Pair, PostgresServer],
) -> None:
    both, server = waiting
    async with watched(server) as hot:
        await hot.step(retire("before"), key="")
        both.standby.kill()
        async with asyncio.timeout(_FENCE):
            numbers = count()
            while not server.primaries.full:
                names = [f"n{next(numbers)}" for _ in range(_CONNECTIONS)]
                steps = (hot.step(retire(name), key=name) for name in names)
                await asyncio.gather(*steps, return_exceptions=True)
        there = left(both)
        assert there >= _CONNECTIONS

        database = open_server(server)
        for number in range(50):
            with pytest.raises(WrongPrimary):
                await hot.step(retire(f"no{number}"), key=str(number))
            with pytest.raises(WrongPrimary):
                await hot.write(retire(f"no{number}"))
            with pytest.raises(WrongPrimary):
                async with database.write():
                    pass
        assert left(both) <= there
        assert server.primaries.refused >= 150
        # Reading is no waiting.
        await hot.read(lambda session: session.run("SELECT 1").fetchone())
        await database.ping(_FENCE)
        await database.close()

        both.standby.start()
        await soon(lambda: hot.step(retire("after"), key=""))
        assert server.primaries.left == 0
        await soon(lambda: hot.write(retire("at last")))
        assert left(both) == 0
