"""What a right password writes on a server."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.softlock import SEEN_AGAIN
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.adapters.databases import opened, server_of
from tests.lalepass_service.paying import debit
from tests.servers.postgres import Database, Postgres

pytestmark = pytest.mark.anyio

SOURCE = b"a source's digest".ljust(32)
GUESS = b"a guess".ljust(16)


@pytest.fixture
def on_server(postgres_server: Postgres, template: str) -> Iterator[Database]:
    made = postgres_server.create_database(template=template)
    yield made
    postgres_server.drop_database(made.name)


async def test_a_source_that_was_seen_lately_is_read_and_not_written(on_server: Database) -> None:
    """Not even locked, which PostgreSQL writes down (`xmax`) and every standby has to hear of."""
    user = a_user("alice")
    async with opened(server_of(on_server)) as store:
        await SqlUsers(store.database).add(user, None, reuse_name=False, act=ACT)
        locks = SqlSoftLocks(store.hot)

        async def enter(at: datetime) -> tuple[str, str]:
            ticket = await debit(locks, user.id, source=SOURCE, guess=GUESS, now=at)
            locks.settle(ticket, user_id=user.id, now=at)
            # What is posted comes before it.
            assert await locks.lanes(user.id) == ()
            version, _, lock = on_server.sql("SELECT xmin, xmax FROM known_sources").partition("\t")
            return version, lock

        first = await enter(NOW)
        same = await enter(NOW + SEEN_AGAIN - timedelta(seconds=1))
        later = await enter(NOW + SEEN_AGAIN)

    assert first[1] == "0"
    assert same == first
    assert later[0] != first[0]
