"""A whole installation goes from a file to a server and back, whatever comes in between."""

import asyncio
import os
import random
import signal
import sqlite3
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from lalepass_service.adapters.sql import tables
from lalepass_service.adapters.sql.connecting import connect
from lalepass_service.adapters.sql.followers import mark_changed
from lalepass_service.adapters.sql.migrate import SchemaState, schema_state, upgrade
from lalepass_service.adapters.sql.move import Progress, move
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.core.errors import InvalidInput
from lalepass_service.core.model import UserId
from tests.lalepass_service.adapters.databases import opened, server_of
from tests.lalepass_service.adapters.sql.everything import fill
from tests.lalepass_service.adapters.sql.processes import go, start
from tests.servers.postgres import Database

_PATIENCE = 120
_PEOPLE = 5000

_MOVE = """
import sys
from pathlib import Path
from lalepass_service.adapters.sql.move import move
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.core.model import Password

def say(progress):
    print(progress.doing, progress.table, progress.done, flush=True)

server = PostgresServer(url=sys.argv[2], password=Password(Path(sys.argv[3]).read_text()))
sys.stdin.readline()
print("moved", move(Path(sys.argv[1]), server, say=say, batch=500))
"""


@pytest.fixture
def server(postgres_database: Database) -> PostgresServer:
    return server_of(postgres_database)


def quiet(_: Progress) -> None:
    pass


def dump(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return all that is in a file, but what is its own."""
    with closing(sqlite3.connect(path)) as connection:
        found = {
            table.name: connection.execute(
                f"SELECT * FROM {table.name} ORDER BY 1, 2"  # noqa: S608 - a name of ours
            ).fetchall()
            for table in tables.metadata.sorted_tables
        }
        found["sequence"] = connection.execute(
            "SELECT name, seq FROM sqlite_sequence ORDER BY 1"
        ).fetchall()
    return found


def cleaned(rows: dict[str, list[tuple[object, ...]]]) -> dict[str, list[tuple[object, ...]]]:
    return {
        name: [
            tuple(v.replace("\0", "\ufffd") if isinstance(v, str) else v for v in row)
            for row in each
        ]
        for name, each in rows.items()
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "lalepass.db"
    fill(path, _PEOPLE)
    return path


def test_killed_three_times_it_is_moved_whole_and_back(
    source: Path, postgres_database: Database, server: PostgresServer, tmp_path: Path
) -> None:
    before = dump(source)
    arguments = (source, server.url, postgres_database.server.password_path)
    for _ in range(3):
        process = start(_MOVE, *arguments)
        go(process)
        assert process.stdout
        for _ in range(random.randrange(1, 60)):  # noqa: S311 - no secret
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert schema_state(server) is SchemaState.UNFINISHED
    process = start(_MOVE, *arguments)
    go(process)
    said, wrong = process.communicate(timeout=_PATIENCE)

    assert wrong == ""
    rows = sum(len(each) for name, each in before.items() if name not in {"sequence", "facts"})
    assert said.splitlines()[-1] == f"moved {rows}"
    assert schema_state(server) is SchemaState.CURRENT
    assert dump(source) == before

    back = tmp_path / "back.db"
    assert move(server, back, say=quiet) == rows
    assert schema_state(back) is SchemaState.CURRENT
    assert dump(back) == cleaned(before)


def test_numbers_go_on_behind_the_highest_that_was_ever_given(
    server: PostgresServer, tmp_path: Path
) -> None:
    path = tmp_path / "lalepass.db"
    fill(path, 9)
    move(path, server, say=quiet)

    async def change() -> None:
        async with opened(server) as at, at.database.write() as connection:
            await mark_changed(connection, UserId("id-000001"), "user-000001")

    asyncio.run(change())
    with connect(server) as connection:
        newest = connection.execute("SELECT max(seq) FROM changes").fetchone()
        numbers = connection.execute(
            "INSERT INTO audit (at, event, outcome, actor) VALUES (now(), '', '', '') RETURNING id"
        ).fetchone()
    assert newest == (10,)  # the ninth is gone from the feed
    assert numbers == (28,)


def test_the_server_knows_at_once_what_it_has_got(server: PostgresServer, tmp_path: Path) -> None:
    """Or it plans for empty tables when the service comes."""
    path = tmp_path / "lalepass.db"
    fill(path, 500)

    move(path, server, say=quiet)

    query = """
        SELECT known.relname, reltuples::int FROM pg_class
        JOIN pg_stat_user_tables AS known ON known.relid = pg_class.oid
        WHERE reltuples >= 0
    """
    with connect(server) as connection:
        guessed = {name: rows for name, rows in connection.execute(query) if name != "facts"}
        counted = {
            table.name: connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608 - a name of ours
            for table in tables.metadata.sorted_tables
            if table is not tables.facts
        }
        columns = connection.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'users'")
        assert (columns.fetchone() or (0,))[0] > 0
    assert {name: (rows,) for name, rows in guessed.items() if name in counted} == counted
    assert guessed["users"] == 500


def test_an_empty_installation_is_moved(server: PostgresServer, tmp_path: Path) -> None:
    path = tmp_path / "lalepass.db"
    upgrade(path)

    assert move(path, server, say=quiet) == 0
    assert schema_state(server) is SchemaState.CURRENT
    with closing(sqlite3.connect(path)) as one, connect(server) as other:
        assert set(one.execute("SELECT * FROM facts")) == set(other.execute("SELECT * FROM facts"))


def test_a_target_with_anything_in_it_is_left_alone(server: PostgresServer, tmp_path: Path) -> None:
    path = tmp_path / "lalepass.db"
    fill(path, 3)
    upgrade(server)
    with connect(server) as connection:
        connection.execute("INSERT INTO retired_names VALUES ('a', now())")

    with pytest.raises(InvalidInput, match="is not empty"):
        move(path, server, say=quiet)
    assert schema_state(server) is SchemaState.CURRENT
    with connect(server) as connection:
        connection.execute("DELETE FROM retired_names")
    assert move(path, server, say=quiet) > 0
    with pytest.raises(InvalidInput, match="is not empty"):
        move(path, server, say=quiet)


def test_the_unfinished_copy_of_another_database_is_left_alone(
    server: PostgresServer, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        fill(tmp_path / name, 3)

    class Interrupted(Exception):
        pass

    def interrupt(_: Progress) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        move(tmp_path / "one", server, say=interrupt)
    with pytest.raises(InvalidInput, match="of another database"):
        move(tmp_path / "other", server, say=quiet)
    assert move(tmp_path / "one", server, say=quiet) > 0


def test_a_source_that_was_changed_in_between_is_noticed(
    server: PostgresServer, tmp_path: Path
) -> None:
    path = tmp_path / "lalepass.db"
    fill(path, 3)

    class Interrupted(Exception):
        pass

    def interrupt(progress: Progress) -> None:
        if progress.table == "users":
            raise Interrupted

    with pytest.raises(Interrupted):
        move(path, server, say=interrupt)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE users SET display_name = 'new' WHERE id = 'id-000001'")
        connection.commit()
    with pytest.raises(InvalidInput, match="differs in users"):
        move(path, server, say=quiet)
    assert schema_state(server) is SchemaState.UNFINISHED


def test_what_is_in_use_is_left_alone(server: PostgresServer, tmp_path: Path) -> None:
    path = tmp_path / "lalepass.db"
    fill(path, 3)
    with closing(sqlite3.connect(path)) as service:
        service.execute("SELECT count(*) FROM users").fetchall()
        with pytest.raises(InvalidInput, match="in use"):
            move(path, server, say=quiet)
    assert schema_state(server) is SchemaState.EMPTY
    with psycopg.connect(**server.parameters()), pytest.raises(InvalidInput, match="in use"):
        move(path, server, say=quiet)
    wait_until_alone(server)
    assert move(path, server, say=quiet) > 0


def wait_until_alone(server: PostgresServer) -> None:
    """Wait for those who have gone: the server takes a moment to see it."""
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'lalepass'"
    )
    end = time.monotonic() + _PATIENCE
    while True:
        with connect(server) as connection:
            if connection.execute(others.encode()).fetchall() == [(1,)]:
                return
        assert time.monotonic() < end


def test_who_comes_to_a_server_meanwhile_is_noticed_before_the_end(
    server: PostgresServer, tmp_path: Path
) -> None:
    """A supervisor starts the service again: what it changes would be missing in the copy."""
    path, back = tmp_path / "lalepass.db", tmp_path / "back.db"
    fill(path, 3)
    count = move(path, server, say=quiet)
    with ExitStack() as stack:

        def come(progress: Progress) -> None:
            if progress.doing == "compared":
                stack.enter_context(psycopg.connect(**server.parameters()))

        with pytest.raises(InvalidInput, match="in use"):
            move(server, back, say=come)

    wait_until_alone(server)
    assert schema_state(back) is SchemaState.UNFINISHED
    assert move(server, back, say=quiet) == count


def test_a_service_can_not_use_the_source_meanwhile(server: PostgresServer, tmp_path: Path) -> None:
    path = tmp_path / "lalepass.db"
    fill(path, 3)
    refused: list[str] = []

    def try_to_write(_: Progress) -> None:
        with closing(sqlite3.connect(path, timeout=0)) as service:
            try:
                service.execute("DELETE FROM users")
            except sqlite3.OperationalError as error:
                refused.append(str(error))

    move(path, server, say=try_to_write)
    assert set(refused) == {"database is locked"}


def test_a_source_of_another_version_is_refused(server: PostgresServer, tmp_path: Path) -> None:
    path = tmp_path / "lalepass.db"
    with pytest.raises(InvalidInput, match="no database of this version"):
        move(path, server, say=quiet)
    assert not path.exists()
    fill(path, 3)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(InvalidInput, match="no database of this version"):
        move(path, replace(server, timeout=1), say=quiet)
    assert schema_state(server) is SchemaState.EMPTY
