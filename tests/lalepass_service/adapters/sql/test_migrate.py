import logging
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from lalepass_service.adapters.sql.migrate import SchemaState, schema_state, upgrade
from lalepass_service.adapters.sql.tables import metadata
from lalepass_service.core.errors import InvalidInput, StoreUnavailable
from tests.lalepass_service.adapters.sql.processes import UPGRADE, go, start


def _execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def _schema(path: Path) -> dict[str, list[str]]:
    """Return the parts of the statements that made the tables and indexes, in any order.

    A migration adds a column at the end, where `tables` may have it further up.
    """
    query = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'alembic%' AND sql NOT NULL"
    with closing(sqlite3.connect(path)) as connection:
        return {name: _parts(sql) for name, sql in connection.execute(query)}


def _parts(sql: str) -> list[str]:
    plain = " ".join(sql.replace('"', "").split())
    head, _, rest = plain.partition("(")
    body, _, tail = rest.rpartition(")")
    # commas within parentheses belong to their part
    parts = re.split(r",(?![^()]*\))", body)
    return [head.strip(), tail.strip(), *sorted(part.strip() for part in parts)]


def test_migrations_make_what_the_tables_say(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})

        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_migrations_make_it_to_the_letter(path: Path, tmp_path: Path) -> None:
    # Alembic does not compare checks, foreign keys' actions and strictness.
    direct = tmp_path / "direct.db"
    engine = create_engine(f"sqlite:///{direct}")
    metadata.create_all(engine)
    engine.dispose()

    assert _schema(path) == _schema(direct)


def test_no_file_is_empty(tmp_path: Path) -> None:
    assert schema_state(tmp_path / "missing.db") is SchemaState.EMPTY
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_nothing_in_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()

    assert schema_state(tmp_path / "empty.db") is SchemaState.EMPTY


def test_a_new_file_is_current(path: Path) -> None:
    assert schema_state(path) is SchemaState.CURRENT


def test_an_empty_file_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()

    upgrade(path)

    assert schema_state(path) is SchemaState.CURRENT


def test_a_revision_of_the_future_is_newer_and_left_alone(path: Path) -> None:
    _execute(
        path,
        "UPDATE alembic_version SET version_num = '9999'",
        "UPDATE facts SET value = '9999' WHERE name = 'oldest_program'",
    )
    before = path.read_bytes()

    assert schema_state(path) is SchemaState.NEWER
    with pytest.raises(InvalidInput, match="later version"):
        upgrade(path)

    assert path.read_bytes() == before


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.db"
    _execute(path, "CREATE TABLE access_tokens (id BIGINT)")
    before = path.read_bytes()

    assert schema_state(path) is SchemaState.NEWER
    with pytest.raises(InvalidInput, match="another program"):
        upgrade(path)

    assert path.read_bytes() == before


def test_what_is_no_database_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("some notes\n" * 1000)

    with pytest.raises(StoreUnavailable):
        schema_state(path)
    with pytest.raises(StoreUnavailable):
        upgrade(path)

    assert path.read_text() == "some notes\n" * 1000


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        schema_state(tmp_path)
    with pytest.raises(StoreUnavailable):
        upgrade(tmp_path)


def test_a_missing_folder_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        upgrade(tmp_path / "nowhere" / "lalepass.db")

    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        upgrade(tmp_path / "lalepass.db")
    finally:
        os.umask(before)

    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_upgrading_again_changes_nothing(path: Path) -> None:
    _execute(
        path,
        "INSERT INTO users (id, localpart, state, admin, created_at)"
        " VALUES ('1', 'a', 'active', 0, '2026-01-01')",
    )

    upgrade(path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "what?.db", "a#b.db"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    upgrade(tmp_path / name)

    assert schema_state(tmp_path / name) is SchemaState.CURRENT
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_several_processes_may_upgrade_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lalepass.db"
    processes = [start(UPGRADE, path) for _ in range(3)]
    for process in processes:
        go(process)
    results = [process.communicate(timeout=100) for process in processes]

    assert results == [("current\n", "")] * 3


def test_an_upgrade_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "lalepass.db"
    # One of the last tables to be made meets a view of its own name.
    _execute(path, "CREATE VIEW tokens AS SELECT 1")
    before = _schema(path)

    with pytest.raises(StoreUnavailable):
        upgrade(path)

    assert _schema(path) == before


def test_an_upgrade_leaves_logging_as_it_is(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("uvicorn").disabled)

    upgrade(tmp_path / "lalepass.db")

    assert (root.level, list(root.handlers), logging.getLogger("uvicorn").disabled) == before
