"""What `test_migrate` shows for a file, on a server."""

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from lalepass_service.adapters.sql.connecting import connect
from lalepass_service.adapters.sql.migrate import SchemaState, schema_state, upgrade
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.tables import metadata
from lalepass_service.core.errors import InvalidInput, StoreUnavailable
from tests.lalepass_service.adapters.databases import server_of
from tests.lalepass_service.adapters.sql.processes import go, start
from tests.servers.faults import Link
from tests.servers.fixtures import left_out_if_missing
from tests.servers.pgbouncer import pgbouncer
from tests.servers.postgres import Database, Postgres
from tests.servers.psql import ROLE, url_of

_PATIENCE = 100
_FENCE = 30
"""Seconds: half as long as an upgrade waits."""

# The password is not among the arguments: those are for everybody to see.
_UPGRADE = """
import sys
from pathlib import Path
from lalepass_service.adapters.sql import migrate
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.core.model import Password

made = []
run = migrate._run_migrations
migrate._run_migrations = lambda connection: (made.append(1), run(connection))
server = PostgresServer(url=sys.argv[1], password=Password(Path(sys.argv[2]).read_text()))
sys.stdin.readline()
migrate.upgrade(server)
print(migrate.schema_state(server), len(made))
"""

# Everything about the columns, constraints and indexes, without what is the server's own.
_SCHEMA = """
SELECT 'column', table_name || '.' || column_name, data_type || ' ' || is_nullable || ' '
    || coalesce(column_default, '') || ' ' || coalesce(collation_name, '') || is_identity
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
"""


@pytest.fixture
def server(postgres_database: Database) -> PostgresServer:
    return server_of(postgres_database)


def run(server: PostgresServer, *statements: str) -> list[Any]:
    with connect(server) as connection:
        done = [connection.execute(statement.encode()) for statement in statements]
    return done[-1].fetchall() if done[-1].description else []


def schema(server: PostgresServer) -> set[Any]:
    return {row for row in run(server, _SCHEMA) if "alembic" not in row[1]}


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_has_no_room_for_all_names_is_refused(
    postgres_server: Postgres, encoding: str
) -> None:
    """SQL_ASCII is what a system without a language makes; nothing that is read is text then."""
    database = Database(server=postgres_server, name=f"lalepass_{encoding.lower()}")
    postgres_server.sql(
        f"CREATE DATABASE {database.name} OWNER {ROLE} ENCODING '{encoding}' LOCALE 'C' "
        "TEMPLATE template0"
    )
    try:
        for look in (upgrade, schema_state):
            with pytest.raises(InvalidInput, match=f"has the encoding {encoding}, .*'UTF8'"):
                look(server_of(database))
    finally:
        postgres_server.drop_database(database.name)


def test_migrations_make_what_the_tables_say(server: PostgresServer) -> None:
    upgrade(server)
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: connect(server, autocommit=False)
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    made = schema(server)
    run(server, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with engine.begin() as connection:
        metadata.create_all(connection)
    engine.dispose()

    # Alembic does not compare checks, collations and foreign keys' actions.
    assert made == schema(server)
    assert len(made) > 100


def test_an_empty_database_becomes_current_and_stays_so(server: PostgresServer) -> None:
    assert schema_state(server) is SchemaState.EMPTY
    upgrade(server)
    assert schema_state(server) is SchemaState.CURRENT
    run(server, "INSERT INTO retired_names VALUES ('a', now())")
    upgrade(server)
    assert run(server, "SELECT localpart FROM retired_names") == [("a",)]


def test_several_processes_may_upgrade_at_once_and_one_does(
    postgres_database: Database,
) -> None:
    arguments = (postgres_database.url, postgres_database.server.password_path)
    processes = [start(_UPGRADE, *arguments) for _ in range(3)]
    for process in processes:
        go(process)
    said = [_said(process) for process in processes]

    assert sorted(said) == ["current 0", "current 0", "current 1"]


def _said(process: subprocess.Popen[str]) -> str:
    out, wrong = process.communicate(timeout=_PATIENCE)
    assert wrong == ""
    return out.strip()


def test_of_the_future_it_is_left_alone_unless_the_future_says_otherwise(
    server: PostgresServer,
) -> None:
    upgrade(server)
    run(server, "UPDATE alembic_version SET version_num = '9999'")

    # Those tables are what this program made, and it says so.
    assert schema_state(server) is SchemaState.COMPATIBLE
    upgrade(server)
    run(server, "UPDATE facts SET value = '9000' WHERE name = 'oldest_program'")
    assert schema_state(server) is SchemaState.NEWER
    with pytest.raises(InvalidInput, match="later version"):
        upgrade(server)
    run(server, "DELETE FROM facts WHERE name = 'oldest_program'")
    assert schema_state(server) is SchemaState.NEWER


def test_a_database_of_another_program_is_left_alone(server: PostgresServer) -> None:
    run(server, "CREATE TABLE access_tokens (id BIGINT)")

    assert schema_state(server) is SchemaState.NEWER
    with pytest.raises(InvalidInput, match="another program"):
        upgrade(server)
    assert len(schema(server)) == 1


def test_an_upgrade_that_fails_leaves_nothing_behind(server: PostgresServer) -> None:
    # One of the last tables to be made meets a view of its own name.
    run(server, "CREATE VIEW turns AS SELECT 1 AS one")
    before = schema(server)

    with pytest.raises(StoreUnavailable):
        upgrade(server)

    assert schema(server) == before


def make_older(server: PostgresServer) -> None:
    upgrade(server)
    run(
        server,
        "DROP TABLE turns",
        "ALTER TABLE users DROP COLUMN unlocked_at",
        "DROP INDEX ix_users_locked",
        "UPDATE alembic_version SET version_num = '0003'",
    )


def test_who_reads_while_an_upgrade_waits_is_answered_and_it_is_tried_again(
    server: PostgresServer,
) -> None:
    """A dump of the tables begins before the upgrade, and people log in."""
    make_older(server)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass"
    patient = replace(server, timeout=60)
    with psycopg.connect(**patient.parameters()) as dump, ThreadPoolExecutor() as threads:
        with dump.transaction():
            dump.execute("LOCK TABLE users IN ACCESS SHARE MODE")
            upgrading = threads.submit(upgrade, server)
            end = time.monotonic() + _FENCE
            while run(server, waiting) == [(0,)]:
                assert time.monotonic() < end
                assert not upgrading.done()
            # Twice as long as a check waits, since machines are slow.
            assert run(replace(server, timeout=6.0), "SELECT count(*) FROM users") == [(0,)]
        upgrading.result(timeout=_FENCE)

    assert schema_state(server) is SchemaState.CURRENT


def test_a_table_that_somebody_holds_is_not_waited_for_for_long(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others would queue behind."""
    make_older(server)
    monkeypatch.setattr(
        "lalepass_service.adapters.sql.migrate._LOCK_TIMEOUT", "SET LOCAL lock_timeout = '200ms'"
    )
    monkeypatch.setattr("lalepass_service.adapters.sql.migrate._LOCK_PAUSE", 0.0)
    with psycopg.connect(**server.parameters()) as other, other.transaction():
        other.execute("LOCK TABLE facts IN SHARE MODE")
        with pytest.raises(StoreUnavailable):
            upgrade(replace(server, timeout=60))

    assert schema_state(server) is SchemaState.OUTDATED
    upgrade(server)
    assert schema_state(server) is SchemaState.CURRENT


@pytest.mark.parametrize("looking", [schema_state, upgrade])
def test_a_server_that_is_gone_is_not_waited_for_as_an_upgrade_is(
    server: PostgresServer,
    postgres_database: Database,
    postgres_server: Postgres,
    looking: Callable[[PostgresServer], object],
) -> None:
    """Each command looks at the tables first, and its address may name a server that is gone."""
    upgrade(server)
    with Link(postgres_server.port) as gone, Link(postgres_server.port) as there:
        gone.half_open()
        url = url_of(gone.port, there.port, database=postgres_database.name)
        began = time.monotonic()
        looking(replace(server, url=url, timeout=0.5))
        assert time.monotonic() - began < _FENCE


def test_a_pooler_whose_server_is_gone_is_not_waited_for(
    server: PostgresServer, postgres_database: Database, postgres_server: Postgres
) -> None:
    upgrade(server)
    with (
        Link(postgres_server.port) as link,
        left_out_if_missing(),
        pgbouncer(postgres_server, target=link.port) as bouncer,
    ):
        url = url_of(bouncer.port, database=postgres_database.name)
        behind = replace(server, url=url, timeout=0.5)
        assert schema_state(behind) is SchemaState.CURRENT
        link.half_open()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            schema_state(behind)
        assert time.monotonic() - began < _FENCE
