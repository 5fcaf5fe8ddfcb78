"""Commands look at all hosts before they change anything, also those that have no loop."""

from dataclasses import replace

import pytest

from lalepass_service.adapters.sql.migrate import SchemaState, upgrade
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.primaries import Primaries
from lalepass_service.adapters.sql.standing import Standing
from lalepass_service.adapters.sql.watching import Watch
from lalepass_service.faults import OutsideFault
from lalepass_service.parts import migrate, move, schema_of
from tests.lalepass_service.adapters.databases import server_of
from tests.servers.pair import Pair
from tests.servers.postgres import Database
from tests.servers.psql import url_of


@pytest.fixture
def server(postgres_pair: Pair, pair_database: Database) -> PostgresServer:
    """Both of the pair, the primary first."""
    ports = (postgres_pair.primary.port, postgres_pair.standby.port)
    url = url_of(*ports, database=pair_database.name)
    return replace(server_of(pair_database), url=url, primaries=Primaries())


def test_tables_are_made_at_the_newest(
    server: PostgresServer, postgres_pair: Pair, pair_database: Database
) -> None:
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    # The first of the hosts is the old one, and what libpq would take.
    postgres_pair.promote_away()

    assert schema_of(server) is SchemaState.EMPTY
    assert server.primaries.first == 1
    migrate(server)

    there = "SELECT count(*) FROM pg_tables WHERE tablename = 'users'"
    new, old = postgres_pair.primary, postgres_pair.standby
    assert new.sql(there, database=pair_database.name) == "1"
    assert old.sql(there, database=pair_database.name) == "0"


def test_an_old_primary_is_not_asked_when_the_newer_one_is_away(
    server: PostgresServer, postgres_pair: Pair
) -> None:
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    postgres_pair.promote_away()
    schema_of(server)
    postgres_pair.primary.kill()

    with pytest.raises(OutsideFault, match="a newer primary was seen"):
        schema_of(server)
    with pytest.raises(OutsideFault, match="a newer primary was seen"):
        migrate(server)


def test_in_doubt_nothing_is_changed(
    server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def doubt(watch: Watch) -> None:
        del watch
        server.primaries.standing = Standing(split=True, writing=2)

    monkeypatch.setattr(Watch, "begin", doubt)
    path = tmp_path_factory.mktemp("file") / "lalepass.db"
    upgrade(path)
    # Looking does no harm.
    assert schema_of(server) is SchemaState.EMPTY
    with pytest.raises(OutsideFault, match="two servers take writes"):
        migrate(server)
    with pytest.raises(OutsideFault, match="two servers take writes"):
        move(path, server, say=lambda _: None)
    server.primaries.standing = Standing()
    assert schema_of(server) is SchemaState.EMPTY
