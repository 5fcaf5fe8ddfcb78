"""What is acknowledged with a synchronous standby is there after it has taken over."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from lalepass_service.adapters.sql.callers import SqlCallers
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import Password, UserState
from tests.lalepass_service.accounts import ACT
from tests.lalepass_service.adapters.stores import ALICE, DIGEST, NEWER_RECORD, RECORD, a_caller
from tests.servers.fixtures import left_out_if_missing
from tests.servers.pair import Pair, pair
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture
def site() -> Iterator[tuple[Pair, PostgresServer]]:
    """A pair of one's own: its primary is stuck at the end."""
    with left_out_if_missing(), pair() as both:
        made = both.create_database()
        password = Password(both.primary.password)
        server = PostgresServer(url=both.url(made.name), password=password, timeout=1.0)
        upgrade(server)
        both.primary.require_standby(both.standby)
        yield both, server


@asynccontextmanager
async def users_on(server: PostgresServer) -> AsyncIterator[SqlUsers]:
    database = open_server(server)
    yield SqlUsers(database)
    await database.close()


async def test_what_is_said_a_second_time_is_no_more_acknowledged_than_the_first(
    site: tuple[Pair, PostgresServer],
) -> None:
    both, server = site
    async with users_on(server) as users:
        await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
        both.standby.kill()

        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await users.set_state(ALICE.id, UserState.DISABLED, act=ACT)

        # Nobody sees what the standby does not have.
        found = await users.find(ByLocalpart(ALICE.localpart))
        assert found is not None
        assert found.state is UserState.ACTIVE

    both.standby.start()
    _wait_for_backends(both.primary)
    async with users_on(server) as users:
        # It comes back, and what has waited for it is there; or is given up with the connection.
        assert await users.set_state(ALICE.id, UserState.DISABLED, act=ACT)
    both.fail_over()
    async with users_on(server) as users:
        found = await users.find(ByLocalpart(ALICE.localpart))
        assert found is not None
        assert found.state is UserState.DISABLED


async def test_a_password_that_is_not_acknowledged_is_not_seen(
    site: tuple[Pair, PostgresServer],
) -> None:
    both, server = site
    async with users_on(server) as users:
        await users.add(ALICE, RECORD, reuse_name=False, act=ACT)
        both.standby.kill()

        with pytest.raises(StoreUnavailable):
            await users.set_password(ALICE.id, NEWER_RECORD, changed_at=ALICE.created_at, act=ACT)

        read = await users.credentials(ByLocalpart(ALICE.localpart))
        assert read is not None
        assert read.record == RECORD


async def test_writers_take_turns_whatever_isolation_the_role_has(
    site: tuple[Pair, PostgresServer],
) -> None:
    both, server = site
    both.primary.require_standby(None)
    both.primary.sql("ALTER ROLE lalepass SET default_transaction_isolation = 'repeatable read'")
    first, second, third = (open_server(server) for _ in range(3))
    async with third.write():
        # Both wait for the lock; who gets it second must see what the first has written.
        adding = [
            asyncio.create_task(
                SqlCallers(database).add(a_caller(number), DIGEST, limit=1, act=ACT)
            )
            for number, database in enumerate((first, second))
        ]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in adding)
    outcomes = await asyncio.gather(*adding, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "TooManyTokens"]
    for database in (first, second, third):
        await database.close()


def _wait_for_backends(primary: Postgres) -> None:
    """Wait until nobody waits for the standby any more."""
    for _ in range(600):
        if primary.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "0":
            return
        primary.sql("SELECT pg_sleep(0.05)")
    raise AssertionError("somebody still waits for the standby")
