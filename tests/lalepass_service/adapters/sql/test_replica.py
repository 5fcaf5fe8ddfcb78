"""Whatever becomes of a standby, what is read is what its primary would have said."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from lalepass_service.adapters.sql import standby
from lalepass_service.adapters.sql.fence import Why
from lalepass_service.adapters.sql.session import Session
from lalepass_service.core.errors import StoreUnavailable
from tests.lalepass_service.adapters.sql.standbys import (
    Site,
    is_standby,
    prepared,
    server_at,
    site_on,
    with_account,
)
from tests.lalepass_service.waiting import until
from tests.servers.pair import Pair
from tests.servers.postgres import Database as OnServer
from tests.servers.postgres import Postgres
from tests.servers.psql import ROLE

pytestmark = pytest.mark.anyio


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, a standby has the time to say what it is."""
    monkeypatch.setattr(standby, "_PATIENCE", 30.0)


@pytest.fixture
async def site(postgres_pair: Pair, pair_database: OnServer) -> AsyncIterator[Site]:
    prepared(postgres_pair, pair_database)
    name = pair_database.name
    primary = server_at(postgres_pair.primary, database=name)
    async with site_on(primary, server_at(postgres_pair.standby, database=name)) as site:
        await with_account(site)
        await site.reading_from_standby()
        yield site


async def test_all_is_well(site: Site) -> None:
    for _ in range(20):
        version = await site.write()
        assert await site.read() == version

    await site.reading_from_standby()
    assert site.reads.fences > 0


async def test_one_transaction_on_a_standby_answers_and_each_statement_looks_anew(
    postgres_pair: Pair, pair_database: OnServer
) -> None:
    prepared(postgres_pair, pair_database)
    isolation = "default_transaction_isolation"
    setting = f"ALTER ROLE {ROLE} IN DATABASE {pair_database.name} SET {isolation}"
    postgres_pair.primary.sql(f"{setting} TO serializable")
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)

    def work(session: Session) -> tuple[bool, str, str]:
        return (
            session.run("SELECT pg_is_in_recovery()").fetchone()[0],
            session.run("SHOW transaction_isolation").fetchone()[0],
            session.run(f"SHOW {isolation}").fetchone()[0],
        )

    name = pair_database.name
    primary = server_at(postgres_pair.primary, database=name)
    async with site_on(primary, server_at(postgres_pair.standby, database=name)) as later:
        await until(lambda: later.reads.up > 0)
        while not (found := await later.reads.read(work))[0]:
            await until(lambda: later.reads.up > 0)
    # A standby can't be read from as serializable at all.
    assert found == (True, "read committed", "serializable")


def stopped_replay(standby: Postgres) -> None:
    standby.pause_replay()


def far_behind(standby: Postgres) -> None:
    standby.delay_replay(3600)


def stopped_in_its_tracks(standby: Postgres) -> None:
    standby.pause()


def killed(standby: Postgres) -> None:
    standby.kill()


def cut_off(standby: Postgres) -> None:
    standby.set("primary_conninfo", "")


@pytest.mark.parametrize(
    "breaking", [stopped_replay, far_behind, stopped_in_its_tracks, killed, cut_off]
)
async def test_a_standby_that_is_not_there_changes_no_answer_and_is_used_again_when_it_is(
    site: Site, postgres_pair: Pair, breaking: Callable[[Postgres], None]
) -> None:
    breaking(postgres_pair.standby)
    for version in range(2, 8):
        assert await site.write() == version
        assert await site.read() == version
        assert await asyncio.gather(*(site.read() for _ in range(20))) == [version] * 20
    # Each of the connections has found out once, and whoever comes then does not pay for it.
    await site.reading_from_primary()

    if breaking is cut_off:
        postgres_pair.standby.set("primary_conninfo", None)
    postgres_pair.heal()
    await site.reading_from_standby()
    assert await site.read() == version


async def test_one_that_is_promoted_changes_no_answer(site: Site, postgres_pair: Pair) -> None:
    # By mistake: the primary goes on, and is the one that we write to.
    postgres_pair.standby.promote()
    for _ in range(4):
        version = await site.write()
        assert await site.read() == version

    await site.reading_from_primary()


@pytest.mark.usefixtures("patient")
async def test_while_the_primary_is_away_nobody_is_told_anything(
    site: Site, postgres_pair: Pair
) -> None:
    postgres_pair.primary.kill()

    with pytest.raises(StoreUnavailable):
        await site.read()
    assert site.passed(Why.NO_FENCE) > 0

    postgres_pair.primary.start()
    await site.reading_from_standby()
    assert await site.read() == site.acknowledged


async def test_after_a_failover_the_standby_of_the_new_primary_is_read_from(
    postgres_pair: Pair, pair_database: OnServer
) -> None:
    prepared(postgres_pair, pair_database)
    postgres_pair.primary.require_standby(postgres_pair.standby)
    everywhere = server_at(*postgres_pair.both, database=pair_database.name)
    async with site_on(everywhere, everywhere) as site:
        await with_account(site)
        await site.reading_from_standby()
        version = await site.write()
        postgres_pair.fail_over()
        assert await _answered(site.read) == version
        version = await _answered(site.write)
        assert await site.read() == version

        postgres_pair.rejoin()
        await site.reading_from_standby()
        assert await is_standby(site)
        version = await site.write()
        assert await site.read() == version


async def _answered(ask: Callable[[], Awaitable[int]]) -> int:
    """Ask until there is an answer."""
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreUnavailable):
                return await ask()
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("patient")
async def test_without_the_right_to_know_it_is_not_used_which_is_said_once(
    site: Site, postgres_pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lalepass_service")
    postgres_pair.primary.sql(f"REVOKE pg_read_all_stats FROM {ROLE}")
    try:
        postgres_pair.standby.wait_for_replay(postgres_pair.primary)
        version = await site.write()
        assert await site.read() == version
        await site.reading_from_primary(Why.NOT_PERMITTED)
        await until(lambda: "GRANT pg_read_all_stats TO lalepass" in caplog.text)
    finally:
        postgres_pair.primary.sql(f"GRANT pg_read_all_stats TO {ROLE}")

    await site.reading_from_standby()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_standby_of_something_else_is_none(
    site: Site, postgres_pair: Pair, pair_database: OnServer
) -> None:
    # In the same cluster, where all positions are the same.
    other = postgres_pair.create_database()
    prepared(postgres_pair, other)
    primary = server_at(postgres_pair.primary, database=pair_database.name)
    async with site_on(primary, server_at(postgres_pair.standby, database=other.name)) as mixed:
        mixed.acknowledged = site.acknowledged
        await mixed.reading_from_primary(Why.OTHER_DATABASE)
        assert mixed.reads.used == 0
    postgres_pair.primary.drop_database(other.name)


async def test_a_primary_is_no_standby(
    site: Site, postgres_pair: Pair, pair_database: OnServer
) -> None:
    primary = server_at(postgres_pair.primary, database=pair_database.name)
    any_server = replace(primary, url=f"{primary.url}?target_session_attrs=any")
    async with site_on(primary, any_server) as mixed:
        mixed.acknowledged = site.acknowledged
        await mixed.reading_from_primary(Why.PROMOTED)
        assert mixed.reads.used == 0


@pytest.mark.usefixtures("patient")
async def test_what_a_standby_can_not_do_the_primary_does_and_others_go_on(site: Site) -> None:
    def where(session: Session) -> object:
        return session.run("SELECT pg_current_wal_lsn()").fetchone()[0]

    def fault(_: Session) -> None:
        raise ZeroDivisionError

    before = site.reads.up
    assert await site.reads.read(where)
    assert site.passed(Why.FAILED) == 1
    with pytest.raises(ZeroDivisionError):
        await site.reads.read(fault)
    assert site.reads.up >= before
    await site.reading_from_standby()


@pytest.mark.usefixtures("patient")
async def test_nothing_is_written_through_it(site: Site) -> None:
    def write(session: Session) -> None:
        session.run("INSERT INTO retired_names VALUES ('x', now())")

    # It is a mistake of ours, which the primary does not prevent. The standby does.
    await site.reads.read(write)
    assert site.passed(Why.FAILED) == 1


async def test_nobody_reads_when_it_is_closed(site: Site) -> None:
    await site.reads.close()
    assert await site.read() == site.acknowledged
    assert not await is_standby(site)
