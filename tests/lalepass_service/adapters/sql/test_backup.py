"""A backup is whole, made while others write, and brought back as a whole."""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from lalepass_service.adapters.sql import backup
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.core.errors import InvalidInput, StoreUnavailable


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "lalepass.db"
    upgrade(path)
    _retire(path, "first")
    return path


def _retire(path: Path, *names: str) -> None:
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.executemany(
            "INSERT INTO retired_names VALUES (?, '2026-01-01T00:00:00')",
            [(name,) for name in names],
        )


def _names(path: Path) -> list[str]:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        rows = connection.execute("SELECT localpart FROM retired_names ORDER BY localpart")
        return [name for (name,) in rows]


def _files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_there_and_back(database: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copies" / "monday.db"
    copied.parent.mkdir()
    backup.copy(database, copied)
    _retire(database, "second")

    assert _files(copied.parent) == {"monday.db"}
    assert copied.stat().st_mode & 0o777 == 0o600
    assert _names(copied) == ["first"]

    backup.restore(copied, database)

    assert _names(database) == ["first"]
    assert _names(copied) == ["first"]
    _retire(database, "third")
    assert _names(database) == ["first", "third"]


def test_to_where_nothing_is(database: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy.db"
    backup.copy(database, copied)
    new = tmp_path / "new.db"

    backup.restore(copied, new)

    assert _names(new) == ["first"]
    assert new.stat().st_mode & 0o777 == 0o600


def test_what_is_committed_together_is_copied_together(database: Path, tmp_path: Path) -> None:
    # Pairs are written all the while: no copy may hold one of a pair.
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            _retire(database, f"{turn:06}-a", f"{turn:06}-b")
            turn += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(10):
            backup.copy(database, tmp_path / f"{turn}.db")
    finally:
        stop.set()
        writer.join()

    for turn in range(10):
        names = _names(tmp_path / f"{turn}.db")
        assert names.pop() == "first"
        assert [name[-1] for name in names] == ["a", "b"] * (len(names) // 2)


def test_who_follows_the_feed_notices_that_it_is_another_one(
    database: Path, tmp_path: Path
) -> None:
    def identity() -> str:
        with closing(sqlite3.connect(database)) as connection:
            query = "SELECT value FROM facts WHERE name = 'database_id'"
            (value,) = connection.execute(query).fetchone()
            return str(value)

    before = identity()
    backup.copy(database, tmp_path / "copy.db")
    assert identity() == before

    backup.restore(tmp_path / "copy.db", database)

    assert identity() != before


def test_a_file_that_is_there_is_never_overwritten(database: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    there.write_text("mine")

    with pytest.raises(InvalidInput, match="is there already"):
        backup.copy(database, there)

    assert there.read_text() == "mine"
    assert _files(tmp_path) == {"there.db", "lalepass.db"}


def test_a_database_in_use_is_not_replaced(database: Path, tmp_path: Path) -> None:
    backup.copy(database, tmp_path / "copy.db")
    with closing(sqlite3.connect(database)) as service:
        # At rest, as a service is most of the time.
        service.execute("SELECT * FROM users").fetchall()

        with pytest.raises(InvalidInput, match="is in use: stop the service first"):
            backup.restore(tmp_path / "copy.db", database)

    backup.restore(tmp_path / "copy.db", database)


@pytest.mark.parametrize("damage", ["text", "header", "cut"])
def test_a_database_that_can_not_be_opened_is_moved_aside(
    database: Path, tmp_path: Path, damage: str
) -> None:
    backup.copy(database, tmp_path / "copy.db")
    content = database.read_bytes()
    damaged = {
        "text": b"no database " * 1000,
        "header": bytes(100) + content[100:],
        "cut": content[: len(content) // 2],
    }[damage]
    # Whatever is in its log must not get into the new one.
    log = Path(f"{database}-wal")

    for name in ("lalepass.db.damaged", "lalepass.db.damaged.2"):
        database.write_bytes(damaged)
        log.write_bytes(b"log")

        assert backup.restore(tmp_path / "copy.db", database) == tmp_path / name

        assert _names(database) == ["first"]
        assert (tmp_path / name).read_bytes() == damaged
        assert database.stat().st_mode & 0o777 == 0o600
        _retire(database, "second")


def test_a_damaged_database_in_use_is_not_moved(database: Path, tmp_path: Path) -> None:
    backup.copy(database, tmp_path / "copy.db")
    # Another process: locks are a process's own.
    at_rest = (
        "import sqlite3, sys;"
        "c = sqlite3.connect(sys.argv[1]);"
        "c.execute('SELECT * FROM users').fetchall();"
        "print('open', flush=True); sys.stdin.read()"
    )
    service = subprocess.Popen(
        [sys.executable, "-c", at_rest, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with service:
        assert service.stdout is not None
        assert service.stdout.readline() == b"open\n"
        with database.open("r+b") as file:
            file.write(bytes(100))
        damaged = database.read_bytes()

        with pytest.raises(InvalidInput, match="is in use: stop the service first"):
            backup.restore(tmp_path / "copy.db", database)

        assert database.read_bytes() == damaged
        service.communicate(timeout=30)

    assert backup.restore(tmp_path / "copy.db", database) is not None


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "torn", "other", "missing"])
def test_what_is_no_backup_changes_nothing(database: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    copied = folder / "copy.db"
    backup.copy(database, copied)
    content = copied.read_bytes()
    match damage:
        case "text":
            copied.write_text("no database " * 1000)
        case "empty":
            copied.write_bytes(b"")
        case "cut":
            copied.write_bytes(content[: len(content) // 2])
        case "torn":
            half = len(content) // 2
            copied.write_bytes(content[:half] + bytes(4096) + content[half + 4096 :])
        case "other":
            copied.unlink()
            with closing(sqlite3.connect(copied)) as other:
                other.execute("CREATE TABLE cakes (name TEXT)")
        case "missing":
            copied.unlink()
    _retire(database, "second")

    with pytest.raises((InvalidInput, StoreUnavailable)):
        backup.restore(copied, database)

    assert _names(database) == ["first", "second"]
    assert not {name for name in _files(tmp_path) if name.startswith(".")}
