"""The database, and what is to be known of it before it is opened."""

# ruff: noqa: PLC0415 - see the package

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lalepass_service.faults import ConfigFault, OutsideFault
from lalepass_service.parts.background import in_background

_LITTLE_SPACE: Final = 64 * 1024
"""Bytes. Who reads needs some, too: processes share what they know of the file in another one."""

_MAX_PASSWORD: Final = 4096

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.engine import Database
    from lalepass_service.adapters.sql.hot import Hot
    from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
    from lalepass_service.adapters.sql.hot_sqlite import HotPath
    from lalepass_service.adapters.sql.migrate import SchemaState, Store
    from lalepass_service.adapters.sql.postgres import PostgresServer
    from lalepass_service.config import Config
    from lalepass_service.core.model import Password


def schema_of(store: "Store") -> "SchemaState":
    """Say how the tables in the database compare with this program's.

    Raises:
        OutsideFault: it can't be read.
    """
    from lalepass_service.adapters.sql.migrate import schema_state

    with database_faults(store):
        _look_first(store)
        return schema_state(store)


def migrate(store: "Store") -> None:
    """Make the tables, or bring them up to date.

    Raises:
        OutsideFault: the database can't be written, or this program does not know its tables, or
            it can't be told which of several servers is the right one.
    """
    from lalepass_service.adapters.sql.migrate import upgrade

    with database_faults(store):
        require_primary(store)
        upgrade(store)


def require_primary(store: "Store") -> None:
    """Look at all hosts of a server before something is changed, if that was not done.

    Raises:
        WrongPrimary: it can't be told which of them is the right one.
    """
    _look_first(store)
    if not isinstance(store, Path):
        store.primaries.may_write(changes=True)


def hides_rank(store: "Store") -> bool:
    """Whether an old primary can't be told from a newer one, as the server does not say enough."""
    _look_first(store)
    return not isinstance(store, Path) and store.learned.tells_no_rank


def _look_first(store: "Store") -> None:
    if not isinstance(store, Path):
        from lalepass_service.adapters.sql.looking import look_first

        look_first(store)


def back_up(path: Path, target: Path) -> None:
    """Write a consistent copy of the database into a new file, while it is in use.

    Raises:
        OutsideFault: it can't be read, or the copy can't be written.
    """
    from lalepass_service.adapters.sql import backup

    with database_faults(path):
        backup.copy(path, target)


def restore(source: Path, path: Path) -> Path | None:
    """Put a copy in the place of the database, which nobody may be using.

    Return where a database was moved that is damaged beyond opening.

    Raises:
        OutsideFault: the copy is no good, or the database is in use or can't be written.
    """
    from lalepass_service.adapters.sql import backup

    with database_faults(path):
        return backup.restore(source, path)


def no_tables(store: "Store") -> str:
    """Return what to say of a database that is empty: a new one, or not the one that is meant."""
    return (
        f"{store} has no tables yet: run `lalepass db migrate` for a new installation, or mend "
        "[database] if there should be accounts"
    )


def require_current_schema(config: "Config", at: "Store | None" = None) -> None:
    """Refuse to work on a database that this program does not know. For `at` see `open_database`.

    Raises:
        OutsideFault: it has no tables yet, or older ones, or newer ones.
    """
    from lalepass_service.adapters.sql.migrate import SchemaState

    store = at if at is not None else store_of(config)
    match schema_of(store):
        case SchemaState.CURRENT | SchemaState.COMPATIBLE:
            return
        case SchemaState.EMPTY:
            raise OutsideFault(no_tables(store))
        case SchemaState.OUTDATED:
            raise OutsideFault(
                f"{store} is of an older lalepass: make a copy of it, then run "
                "`lalepass db migrate`"
            )
        case SchemaState.UNFINISHED:
            raise OutsideFault(
                f"{store} is a copy that is not finished: run the same `lalepass db copy` again"
            )
        case SchemaState.NEWER:
            raise OutsideFault(
                f"{store} is of a newer lalepass, or of another program: install what made it"
            )


@asynccontextmanager
async def open_store(config: "Config") -> AsyncIterator["Store"]:
    """Know where the database is; if that is a server, which of them, for as long as this lasts.

    Raises:
        ConfigFault: its address or its password is none.
    """
    store = store_of(config)
    if isinstance(store, Path):
        yield store
        return
    from lalepass_service.adapters.sql.watching import Watch

    watch = Watch(store)
    try:
        await watch.begin()
        async with in_background(watch.run):
            yield store
    finally:
        await watch.close()


@asynccontextmanager
async def open_database(config: "Config", at: "Store | None" = None) -> AsyncIterator["Database"]:
    """Open the database, for as long as the context lasts.

    Args:
        config: the settings.
        at: what `open_store` has found, by those who open several ways to it.

    Raises:
        ConfigFault: its address or its password is none.
        OutsideFault: its tables are not those of this program.
    """
    async with AsyncExitStack() as stack:
        store = at if at is not None else await stack.enter_async_context(open_store(config))
        require_current_schema(config, store)
        database = _opened(store, config)
        stack.push_async_callback(database.close)
        yield database


def _opened(store: "Store", config: "Config") -> "Database":
    if isinstance(store, Path):
        from lalepass_service.adapters.sql.engine import Database

        return Database.open(store, busy_timeout=config.database.busy_timeout)
    from lalepass_service.adapters.sql.postgres_engine import open_server

    return open_server(store)


@asynccontextmanager
async def open_hot(
    config: "Config", at: "Store | None" = None, *, narrow: bool = False
) -> AsyncIterator["Hot"]:
    """Open the way to the database that checks take; narrow where one thread is enough.

    For `at` see `open_database`.
    """
    async with AsyncExitStack() as stack:
        store = at if at is not None else await stack.enter_async_context(open_store(config))
        hot = _hot(store, config, narrow=narrow)
        stack.push_async_callback(hot.close)
        yield hot


def _hot(store: "Store", config: "Config", *, narrow: bool) -> "HotPath | PostgresPaths":
    if isinstance(store, Path):
        from lalepass_service.adapters.sql.hot_sqlite import HotPath

        return HotPath.open(store, busy_timeout=config.database.busy_timeout)
    from lalepass_service.adapters.sql.hot_postgres import PostgresPaths

    return PostgresPaths.open(store, threads=1 if narrow else None)


def store_of(config: "Config") -> "Store":
    """Return where the database is.

    Raises:
        ConfigFault: the address is none, or there is no password where it should be.
    """
    settings = config.database
    if not settings.url:
        return settings.path
    return server_at(settings.url, config, option="database.url")


def server_at(
    url: str, config: "Config", *, option: str, standby: bool = False
) -> "PostgresServer":
    """Return the server at an address, which is that of an option.

    Raises:
        ConfigFault: the address is none, or there is no password where it should be.
    """
    from psycopg import ProgrammingError

    from lalepass_service.adapters.sql.postgres import PostgresServer

    settings = config.database
    server = PostgresServer(
        url=url,
        password=_password(settings.password_path),
        timeout=settings.timeout,
        connections=settings.connections,
        standby=standby,
    )
    try:
        server.parameters()
    except ProgrammingError as error:
        raise ConfigFault(f"{option}: {error}".strip()) from None
    return server


def _password(name: str) -> "Password | None":
    from lalepass_service.core.model import Password

    if not name:
        return None
    try:
        with Path(name).open(encoding="utf-8") as file:
            text = file.read(_MAX_PASSWORD)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise ConfigFault(f"database.password_path: {name}: can't be read: {why}") from None
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or len(text) == _MAX_PASSWORD or "\n" in password or "\0" in password:
        raise ConfigFault(f"database.password_path: {name}: should hold one line, the password")
    return Password(password)


def file_of(config: "Config") -> Path:
    """Return the file that the database is, for what is done with files.

    Raises:
        OutsideFault: it is on a server.
    """
    store = store_of(config)
    if isinstance(store, Path):
        return store
    raise OutsideFault(
        f"{store} is on a server: pg_dump makes copies of it, pg_restore brings them back, "
        "and then comes `lalepass db restored`"
    )


@contextmanager
def database_faults(store: "Store") -> Iterator[None]:
    """Say what is wrong with the file, also if it is of no known version."""
    from lalepass_service.core.errors import InvalidInput

    try:
        with store_faults(store):
            yield
    except InvalidInput as error:
        raise OutsideFault(str(error)) from error


@contextmanager
def store_faults(store: "Store") -> Iterator[None]:
    """Name the database and the cause: whoever runs a command on it can do something about both."""
    from lalepass_service.core.errors import StoreUnavailable

    try:
        yield
    except StoreUnavailable as error:
        if type(error) is not StoreUnavailable:
            # Another store than the database, which says so itself.
            raise OutsideFault(str(error)) from error
        raise OutsideFault(
            f"the database {store} can't be used: {_state_of_disk(store) or _reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    # SQLAlchemy's text repeats the statement; what it wraps says what is wrong.
    why = getattr(error.__cause__, "orig", None) or error.__cause__
    text = str(getattr(why, "strerror", None) or why or "").strip()
    # libpq tells a story: the last line is what the last of the servers said.
    return text.splitlines()[-1].strip() if text else "it did not answer in time"


def _state_of_disk(store: "Store") -> str | None:
    """Say what is wrong with the disk: SQLite has one sentence for many of its faults."""
    if not isinstance(store, Path):
        return None
    try:
        disk = os.statvfs(store.parent)
    except OSError:
        return None
    if disk.f_flag & os.ST_RDONLY:
        return "its file system is read-only"
    if disk.f_bavail * disk.f_frsize < _LITTLE_SPACE:
        return "no space left on its file system"
    return None
