"""The database, and what is to be known of it before it is opened."""

# ruff: noqa: PLC0415 - see the package

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lalepass_service.faults import OutsideFault

_LITTLE_SPACE: Final = 64 * 1024
"""Bytes. Who reads needs some, too: processes share what they know of the file in another one."""

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.engine import Database
    from lalepass_service.adapters.sql.hot import HotPath
    from lalepass_service.adapters.sql.migrate import SchemaState
    from lalepass_service.config import Config


def schema_of(path: Path) -> "SchemaState":
    """Say how the tables in the database compare with this program's.

    Raises:
        OutsideFault: it can't be read.
    """
    from lalepass_service.adapters.sql.migrate import schema_state

    with _database_faults(path):
        return schema_state(path)


def migrate(path: Path) -> None:
    """Make the tables, or bring them up to date.

    Raises:
        OutsideFault: the database can't be written, or this program does not know its tables.
    """
    from lalepass_service.adapters.sql.migrate import upgrade

    with _database_faults(path):
        upgrade(path)


def back_up(path: Path, target: Path) -> None:
    """Write a consistent copy of the database into a new file, while it is in use.

    Raises:
        OutsideFault: it can't be read, or the copy can't be written.
    """
    from lalepass_service.adapters.sql import backup

    with _database_faults(path):
        backup.copy(path, target)


def restore(source: Path, path: Path) -> Path | None:
    """Put a copy in the place of the database, which nobody may be using.

    Return where a database was moved that is damaged beyond opening.

    Raises:
        OutsideFault: the copy is no good, or the database is in use or can't be written.
    """
    from lalepass_service.adapters.sql import backup

    with _database_faults(path):
        return backup.restore(source, path)


def require_current_schema(config: "Config") -> None:
    """Refuse to work on a database that this program does not know.

    Raises:
        OutsideFault: it has no tables yet, or older ones, or newer ones.
    """
    from lalepass_service.adapters.sql.migrate import SchemaState

    path = config.database.path
    match schema_of(path):
        case SchemaState.CURRENT:
            return
        case SchemaState.EMPTY:
            raise OutsideFault(f"{path} has no tables yet: run `lalepass db migrate`")
        case SchemaState.OUTDATED:
            raise OutsideFault(
                f"{path} is of an older lalepass: make a copy of it, then run `lalepass db migrate`"
            )
        case SchemaState.NEWER:
            raise OutsideFault(
                f"{path} is of a newer lalepass, or of another program: install what made it"
            )


@asynccontextmanager
async def open_database(config: "Config") -> AsyncIterator["Database"]:
    """Open the database, for as long as the context lasts.

    Raises:
        OutsideFault: its tables are not those of this program.
    """
    from lalepass_service.adapters.sql.engine import Database

    require_current_schema(config)
    database = Database.open(config.database.path, busy_timeout=config.database.busy_timeout)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_hot(config: "Config") -> AsyncIterator["HotPath"]:
    """Open the way to the database that checks take."""
    from lalepass_service.adapters.sql.hot import HotPath

    hot = HotPath.open(config.database.path, busy_timeout=config.database.busy_timeout)
    try:
        yield hot
    finally:
        await hot.close()


@contextmanager
def _database_faults(path: Path) -> Iterator[None]:
    """Say what is wrong with the file, also if it is of no known version."""
    from lalepass_service.core.errors import InvalidInput

    try:
        with store_faults(path):
            yield
    except InvalidInput as error:
        raise OutsideFault(str(error)) from error


@contextmanager
def store_faults(path: Path) -> Iterator[None]:
    """Name the file and the cause: whoever runs a command on it can do something about both."""
    from lalepass_service.core.errors import StoreUnavailable

    try:
        yield
    except StoreUnavailable as error:
        if type(error) is not StoreUnavailable:
            # Another store than the database, which says so itself.
            raise OutsideFault(str(error)) from error
        raise OutsideFault(
            f"the database {path} can't be used: {_state_of_disk(path) or _reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    # SQLAlchemy's text repeats the statement; what it wraps says what is wrong.
    why = getattr(error.__cause__, "orig", None) or error.__cause__
    return str(getattr(why, "strerror", None) or why or "") or "it did not answer in time"


def _state_of_disk(path: Path) -> str | None:
    """Say what is wrong with the disk: SQLite has one sentence for many of its faults."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return None
    if disk.f_flag & os.ST_RDONLY:
        return "its file system is read-only"
    if disk.f_bavail * disk.f_frsize < _LITTLE_SPACE:
        return "no space left on its file system"
    return None
