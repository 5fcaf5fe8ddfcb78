"""A copy of the database while it is in use, and the way back. Blocks."""

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from lalepass_service.adapters.sql.engine import translated
from lalepass_service.adapters.sql.migrate import SchemaState, schema_state
from lalepass_service.core.errors import InvalidInput

_SECONDS: Final = 30.0
_PAGES: Final = 1024
"""4 MiB at a time, so that who writes meanwhile waits for a moment only."""


def copy(database: Path, target: Path) -> None:
    """Write a consistent copy into a new file that only its owner can read, and check it.

    The service goes on meanwhile. What is committed when the copy ends is in it, and nothing that
    is not.

    Raises:
        InvalidInput: the target is there already, or the copy is damaged.
        StoreUnavailable: the database can't be read, or the target can't be written.
    """
    with translated(), _fresh(target) as unfinished:
        with _opened(database) as source, _opened(unfinished) as copied:
            source.backup(copied, pages=_PAGES)
            # One file, which can be copied on as it is.
            copied.execute("PRAGMA journal_mode = DELETE")
            _require_sound(copied, database)
        unfinished.replace(target)
        _make_durable(target)


def restore(backup: Path, database: Path) -> Path | None:
    """Put a copy in the place of the database, in one transaction: all of it, or nothing.

    A database that is damaged beyond opening is moved aside, and the return value is where to.
    The database gets a new id, by which those who follow its feed notice that it is another one:
    what happened since the copy has not happened any more.

    Raises:
        InvalidInput: the copy is damaged or none of this program's, or the database is in use.
        StoreUnavailable: the copy can't be read, or the database can't be written.
    """
    with translated():
        if not backup.is_file():
            raise InvalidInput(f"there is no file {backup}")
        state = schema_state(backup)
        if not state.usable and state is not SchemaState.OUTDATED:
            raise InvalidInput(f"{backup} is no database that this version of lalepass knows")
        _create(database)
        with _beside(database) as renamed, _opened(renamed) as source:
            with _opened(backup) as copied:
                _require_sound(copied, backup)
                copied.backup(source)
            _rename(source)
            aside = _moved_aside(database)
            with _opened(database) as target:
                _require_unused(target, database)
                source.backup(target)
            return aside


@contextmanager
def _fresh(target: Path) -> Iterator[Path]:
    """Lend a file for what is to become the target, which may not be there."""
    if target.exists():
        raise InvalidInput(f"{target} is there already: choose another name, or remove it first")
    with _beside(target) as unfinished:
        yield unfinished


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Lend an empty file in the same folder. It is gone afterwards, unless it was moved."""
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    _create(unfinished)
    try:
        yield unfinished
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{unfinished}{suffix}").unlink(missing_ok=True)


def _create(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connecting = sqlite3.connect(uri, uri=True, timeout=_SECONDS, isolation_level=None)
    with closing(connecting) as connection:
        yield connection


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise InvalidInput(f"{path} is damaged: {verdict}")


def _require_unused(connection: sqlite3.Connection, path: Path) -> None:
    """Find out whether anybody has it open: who does holds a lock on it, also at rest."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise InvalidInput(f"{path} is in use: stop the service first") from error


def _moved_aside(database: Path) -> Path | None:
    """Make way for a new database if SQLite can do nothing with the one that is there."""
    try:
        with _opened(database) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise
    else:
        return None
    _require_unlocked(database)
    aside = _free_name(database)
    # The log first: beside a new database, the old one's would be taken for its own.
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            Path(f"{database}{suffix}").rename(f"{aside}{suffix}")
    _create(database)
    _make_durable(database)
    return aside


def _free_name(database: Path) -> Path:
    for number in count(1):
        name = f"{database.name}.damaged" + (f".{number}" if number > 1 else "")
        aside = database.with_name(name)
        if not any(Path(f"{aside}{suffix}").exists() for suffix in ("", "-wal", "-shm")):
            return aside
    raise AssertionError("numbers don't end")


def _require_unlocked(database: Path) -> None:
    """Find out whether anybody has it open, without SQLite: its locks are on bytes of the file.

    The shared lock is on 510 bytes from the one after the next of 1 GiB (SQLite, `os.h`:
    SHARED_FIRST, SHARED_SIZE). A service at rest holds it. This process may have no connection to
    the file: closing it here would take that one's locks away (POSIX).
    """
    with database.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
        except BlockingIOError as error:
            raise InvalidInput(f"{database} is in use: stop the service first") from error


def _rename(connection: sqlite3.Connection) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if "facts" in tables:
        connection.execute(
            "UPDATE facts SET value = ? WHERE name = 'database_id'", (secrets.token_hex(8),)
        )


def _make_durable(path: Path) -> None:
    for each in (path, path.absolute().parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
