"""Through PgBouncer in transaction mode: each transaction gets whatever connection is free."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lalepass_service.adapters.sql import connecting, postgres
from lalepass_service.adapters.sql.feed import SqlChanges
from lalepass_service.adapters.sql.migrate import SchemaState, schema_state, upgrade
from lalepass_service.adapters.sql.move import move
from lalepass_service.adapters.sql.orders import SqlSignOutOrders
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import AlreadyTaken, InvalidInput, Throttled
from lalepass_service.core.identifiers import ByLocalpart
from lalepass_service.core.model import PasswordRecord, UserState
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing
from tests.lalepass_service.adapters.databases import Opened, opened, server_of
from tests.lalepass_service.paying import debit
from tests.servers.fixtures import left_out_if_missing
from tests.servers.pgbouncer import PgBouncer, pgbouncer
from tests.servers.postgres import Database, Postgres
from tests.servers.psql import url_of

pytestmark = pytest.mark.anyio

_IGNORES = {"ignore_startup_parameters": "options"}


@pytest.fixture(scope="module", params=["refuses options", "ignores options"])
def bouncer(request: pytest.FixtureRequest, postgres_server: Postgres) -> Iterator[PgBouncer]:
    # Fewer connections than there are threads: nobody keeps one.
    settings = {"default_pool_size": "3"} | (_IGNORES if "ignores" in request.param else {})
    with left_out_if_missing(), pgbouncer(postgres_server, settings=settings) as bouncer:
        yield bouncer


@pytest.fixture
def through(bouncer: PgBouncer, postgres_database: Database) -> PostgresServer:
    server = server_of(postgres_database)
    return replace(server, url=url_of(bouncer.port, database=postgres_database.name))


@pytest.fixture
async def at(through: PostgresServer) -> AsyncIterator[Opened]:
    upgrade(through)
    async with opened(through) as at:
        yield at


def test_tables_are_made(through: PostgresServer) -> None:
    assert schema_state(through) is SchemaState.EMPTY
    upgrade(through)
    upgrade(through)
    assert schema_state(through) is SchemaState.CURRENT


def test_several_may_make_them_at_once(through: PostgresServer) -> None:
    """The lock is of the transaction, so that it holds whichever connection that gets."""
    with ThreadPoolExecutor(3) as threads:
        for made in [threads.submit(upgrade, through) for _ in range(3)]:
            made.result()
    assert schema_state(through) is SchemaState.CURRENT


@pytest.mark.parametrize("back", [False, True])
def test_an_installation_is_not_moved_through_it(
    through: PostgresServer,
    tmp_path: Path,
    back: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Who has gone leaves a connection behind there, so nobody can tell who is still at work."""
    file = tmp_path / "lalepass.db"
    upgrade(file)
    if back:
        upgrade(through)
        file = tmp_path / "new.db"
    source, target = (through, file) if back else (file, through)

    with pytest.raises(InvalidInput, match="is a pooler: name the server itself"):
        move(source, target, say=lambda _: None)

    assert schema_state(target) is SchemaState.EMPTY


async def test_that_settings_are_refused_is_found_out_once(
    at: Opened, through: PostgresServer, bouncer: PgBouncer
) -> None:
    """By the threads and by SQLAlchemy's pool together."""
    for number in range(9):
        await at.hot.step(lambda session: session.run("SELECT 1").fetchone(), key=str(number))
    async with at.database.read(), at.database.read():
        pass
    fresh = replace(through, learned=postgres.Learned())
    refusals = [_refusals(bouncer)]
    for _ in range(3):
        connecting.connect(fresh).close()
        await (await connecting.connect_async(fresh)).close()
        refusals.append(_refusals(bouncer))
    assert (refusals[1] > refusals[0]) == fresh.learned.refuses_options
    assert refusals[1] == refusals[-1]


def _refusals(bouncer: PgBouncer) -> int:
    return bouncer.log.read_text().count("unsupported startup parameter")


async def test_guesses_are_paid_for_exactly(at: Opened, through: PostgresServer) -> None:
    """Two processes guess at one account in parallel."""
    async with opened(through) as other:
        ways = [SqlSoftLocks(each.hot) for each in (at, other)]

        async def guess(number: int) -> bool:
            name = number.to_bytes(16)
            try:
                await debit(ways[number % 2], "id-alice", source=b"", guess=name, now=NOW)
            except Throttled:
                return False
            return True

        admitted = await asyncio.gather(*map(guess, range(60)))
    assert sum(admitted) == 3


async def test_accounts_are_kept_beside_one_another(at: Opened) -> None:
    users = SqlUsers(at.database, reads=at.hot)
    names = [f"user-{number}" for number in range(20)]
    record = PasswordRecord("$first$")
    await asyncio.gather(
        *(users.add(a_user(name), record, reuse_name=False, act=ACT) for name in names)
    )
    with pytest.raises(AlreadyTaken):
        await users.add(a_user("user-1"), None, reuse_name=False, act=ACT)
    newer = PasswordRecord("$second$")
    await asyncio.gather(
        *(users.set_password(a_user(n).id, newer, changed_at=NOW, act=ACT) for n in names),
        *(users.set_state(a_user(n).id, UserState.DISABLED, act=ACT) for n in names),
    )
    found = await asyncio.gather(*(users.credentials(ByLocalpart(name)) for name in names))
    assert all(each and each.record == newer for each in found)
    assert all(each and each.user.state is UserState.DISABLED for each in found)
    assert len(await users.page(after=None, limit=99, state=UserState.DISABLED)) == 20


async def test_who_follows_misses_nothing(at: Opened) -> None:
    users, changes = SqlUsers(at.database, reads=at.hot), SqlChanges(at.lane)
    orders = SqlSignOutOrders(lane=at.lane, hot=at.hot)
    names = [f"user-{number}" for number in range(10)]
    for name in names:
        await users.add(a_user(name), None, reuse_name=False, act=ACT)
    await asyncio.gather(
        *(users.set_state(a_user(n).id, UserState.DISABLED, act=ACT) for n in names),
        *(users.sign_out(a_user(n).id, now=standing(NOW), act=ACT) for n in names),
    )
    stretch = await changes.behind(0, limit=99)
    assert {each.localpart for each in stretch.changes} == set(names)
    waiting = await orders.pending("synapse", limit=99)
    assert {order.localpart for order in waiting} == set(names)
    await orders.acknowledge([order.id for order in waiting], caller="synapse")
    assert await orders.pending("synapse", limit=99) == ()
