"""Two standbys, of which one is behind, or is left behind by a promotion."""

from collections.abc import Iterator

import pytest

from lalepass_service.adapters.sql.fence import Why
from tests.lalepass_service.adapters.sql.standbys import (
    prepared,
    server_at,
    site_on,
    with_account,
)
from tests.lalepass_service.waiting import until
from tests.servers.pair import Pair, primary, standby
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture
def three() -> Iterator[tuple[Postgres, Postgres, Postgres]]:
    """A primary with two standbys."""
    with primary() as first, standby(first) as second, standby(first, name="third") as third:
        yield first, second, third


def goes_on(old: Postgres, new: Postgres, ahead: Postgres) -> None:
    """The old primary is alive, and the standby follows it still."""
    del new
    old.wait_for_standby(ahead)


def sent_to_the_new_one(old: Postgres, new: Postgres, ahead: Postgres) -> None:
    """Nobody has rewound it."""
    old.kill()
    ahead.set(
        "primary_conninfo", f"host=127.0.0.1 port={new.port} user=postgres application_name=third"
    )
    ahead.set("primary_slot_name", "")


async def test_the_one_that_is_as_far_is_read_from(
    three: tuple[Postgres, Postgres, Postgres],
) -> None:
    first, good, other = three
    pair = Pair(first, good)
    database = pair.create_database()
    prepared(pair, database)
    other.wait_for_replay(first)
    # The address names them all; who is none is left out.
    everybody = server_at(*three, database=database.name)
    async with site_on(everybody, everybody) as site:
        await with_account(site)
        other.pause_replay()
        for _ in range(3):
            version = await site.write()
            await site.reading_from_standby()
            assert await site.read() == version
        other.kill()
        version = await site.write()
        await site.reading_from_standby()
        assert await site.read() == version


async def test_one_that_had_replayed_more_than_the_promoted_one_changes_no_answer(
    three: tuple[Postgres, Postgres, Postgres],
) -> None:
    old, new, ahead = three
    pair = Pair(old, new)
    database = pair.create_database()
    prepared(pair, database)
    before = server_at(old, database=database.name)
    async with site_on(before, server_at(ahead, database=database.name)) as site:
        await with_account(site)
        await site.reading_from_standby()
        acknowledged = await site.write()
        new.wait_for_replay(old)
        # From here on the one that will be promoted hears nothing any more.
        new.set("primary_conninfo", "")
        await until(lambda: new.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0")
        for _ in range(4):
            await site.write()
        old.sql("CREATE TABLE much AS SELECT generate_series(1, 100000)", database=database.name)
        ahead.wait_for_replay(old)
    new.promote()
    assert site.acknowledged > acknowledged
    assert ahead.position() > new.position()

    after = server_at(new, database=database.name)
    for breaking, why in (
        (goes_on, Why.OTHER_TIMELINE),
        (sent_to_the_new_one, Why.NOT_FOLLOWING),
    ):
        breaking(old, new, ahead)
        async with site_on(after, server_at(ahead, database=database.name)) as site:
            site.acknowledged = acknowledged
            await site.reading_from_primary(why)
            assert site.reads.used == 0
