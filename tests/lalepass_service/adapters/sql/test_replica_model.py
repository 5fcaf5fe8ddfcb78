"""While a standby does what it likes, nobody reads what is older than what was acknowledged."""

import asyncio
from random import Random

import pytest

from lalepass_service.adapters.sql import standby
from lalepass_service.adapters.sql.fence import Why
from tests.lalepass_service.adapters.sql.standbys import (
    Site,
    prepared,
    server_at,
    site_on,
    with_account,
)
from tests.lalepass_service.waiting import until
from tests.servers.pair import Pair
from tests.servers.postgres import Database as OnServer
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio

_STEPS = 24
_READERS = 6
_MANY = 30


async def _misbehave(site: Site, standby: Postgres, random: Random) -> None:
    """Pause, lag and go on, at random; be of use in between, and of none."""
    whims = (
        standby.pause_replay,
        standby.resume_replay,
        lambda: standby.delay_replay(0.005),
        lambda: standby.delay_replay(random.random()),
        lambda: standby.delay_replay(0),
    )
    for step in range(_STEPS):
        if step % 4 == 0:
            await asyncio.to_thread(standby.delay_replay, 0)
            await asyncio.to_thread(standby.resume_replay)
            used = site.reads.used
            await until(lambda: site.reads.used >= used + _MANY, seconds=60)  # noqa: B023 - awaited at once
        elif step % 4 == 1:
            await asyncio.to_thread(standby.pause_replay)
            lagging = site.passed(Why.LAGGING)
            await until(lambda: site.passed(Why.LAGGING) > lagging, seconds=60)  # noqa: B023 - awaited at once
        else:
            await asyncio.to_thread(random.choice(whims))
            await asyncio.sleep(random.random() * 0.1)


async def _write(site: Site, random: Random) -> None:
    while True:
        await site.write()
        await asyncio.sleep(random.random() * 0.02)


async def _read(site: Site, random: Random) -> None:
    while True:
        before = site.acknowledged
        found = await site.read()
        assert before <= found <= site.written
        # Nor does time go backwards for who reads twice.
        assert found <= await site.read()
        await asyncio.sleep(random.random() * 0.005)


async def test_what_was_acknowledged_is_seen_by_every_read_that_begins_later(
    postgres_pair: Pair, pair_database: OnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It comes back into use more often than it would.
    monkeypatch.setattr(standby, "_LONGEST_REST", 0.2)
    random = Random(6)  # noqa: S311 - whims
    prepared(postgres_pair, pair_database)
    name = pair_database.name
    primary = server_at(postgres_pair.primary, database=name)
    async with site_on(primary, server_at(postgres_pair.standby, database=name)) as site:
        await with_account(site)
        await site.reading_from_standby()
        others = [asyncio.create_task(_write(site, random))]
        others += [asyncio.create_task(_read(site, random)) for _ in range(_READERS)]
        whims = asyncio.create_task(_misbehave(site, postgres_pair.standby, random))
        done, _ = await asyncio.wait([whims, *others], return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        outcomes = await asyncio.gather(whims, *others, return_exceptions=True)
        faults = [each for each in outcomes if isinstance(each, Exception)]
        assert (done, faults) == ({whims}, [])
        assert site.acknowledged > _STEPS
