"""Makes the tables and brings them up to date. Blocks; call it before the service starts."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, delete, insert, inspect, select
from sqlalchemy.exc import OperationalError

from lalepass_service.adapters.sql import connecting, postgres
from lalepass_service.adapters.sql.engine import translated
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.tables import facts
from lalepass_service.core.errors import InvalidInput

if TYPE_CHECKING:
    import psycopg

Store = Path | PostgresServer
"""A file of SQLite's, or a server."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_LOCK_SECONDS: Final = 60.0
"""How long one upgrade waits for another. It holds the lock until its last step."""

_NO_TIMEOUT: Final = "SET LOCAL statement_timeout = 0"
"""A table may be large, and the role may have the limit of what checks ask."""

_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '2s'"
"""A table that somebody reads for so long, as who dumps it, is not waited for, since all others
queue behind: less than their statements may take, and more than it takes to have autovacuum go."""

_LOCK_TRIES: Final = 5
_LOCK_PAUSE: Final = 1.0
"""Seconds in which those who have queued have their turn."""

_WAL_ATTEMPTS: Final = 10

OLDEST: Final = "oldest_program"
"""The fact that says who may use the tables."""

UNFINISHED: Final = "unfinished_copy_of"
"""The fact that says that not everything is there yet: see `move`."""


class SchemaState(StrEnum):
    """How the tables in a file compare with those that this version uses."""

    # no file, or nothing in it
    EMPTY = "empty"
    CURRENT = "current"
    # of a later version, which says that this one may go on with them
    COMPATIBLE = "compatible"
    # `upgrade` is due
    OUTDATED = "outdated"
    # what `move` has begun and not finished
    UNFINISHED = "unfinished"
    # of a later version of Lalepass, or not of Lalepass at all
    NEWER = "newer"

    @property
    def usable(self) -> bool:
        """Whether this program can work with them."""
        return self in {SchemaState.CURRENT, SchemaState.COMPATIBLE}


def schema_state(store: Store) -> SchemaState:
    """Look at the database without changing it.

    Raises:
        InvalidInput: its encoding is not UTF8.
        StoreUnavailable: it can't be read, or the file is no SQLite database.
    """
    with translated():
        if isinstance(store, Path) and not store.exists():
            return SchemaState.EMPTY
        with _connection(store, patient=False) as connection:
            return _state(connection)


def upgrade(store: Store) -> None:
    """Make the file if there is none, and bring the tables up to date: all of it, or nothing.

    Any number of processes may do this at the same time. One works, the others wait and then find
    nothing to do.

    Raises:
        InvalidInput: the folder does not exist, or the database is not one that this version knows,
            or its encoding is not UTF8.
        StoreUnavailable: it can't be written, or the file is no SQLite database.
    """
    with translated():
        if isinstance(store, Path):
            _upgrade_file(store)
        else:
            _upgrade_server(store)


def _upgrade_server(store: PostgresServer) -> None:
    for left in reversed(range(_LOCK_TRIES)):
        try:
            with _connection(store) as connection:
                connection.exec_driver_sql(_NO_TIMEOUT)
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({postgres.MIGRATION})")
                connection.exec_driver_sql(_LOCK_TIMEOUT)
                return _upgrade(connection, store)
        except OperationalError as error:
            if not left or not postgres.held(error.orig):
                raise
        time.sleep(_LOCK_PAUSE)  # noqa: TID251 - of a command, which waits for nothing else
    raise AssertionError("there is a last one")


def _upgrade_file(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise InvalidInput(f"there is no folder {path.absolute().parent}")
    _create(path)
    with _connection(path) as connection:
        # The lock comes first and the look second, so that what was seen stays true.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _upgrade(connection, path)
        _use_wal(connection)


def _upgrade(connection: Connection, store: Store) -> None:
    state = _state(connection)
    if state is SchemaState.NEWER:
        raise InvalidInput(
            f"{store} was made by a later version of Lalepass, or by another program"
        )
    if state in {SchemaState.EMPTY, SchemaState.OUTDATED}:
        _run_migrations(connection)
        _say_who_may_go_on(connection)
    connection.commit()


def _create(path: Path) -> None:
    """Make an empty file that only its owner can read, unless there is one already.

    SQLite would make it as the umask says, which in most places lets everybody read it. The
    files that it makes beside it get the mode of this one.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


@contextmanager
def _connection(store: Store, *, patient: bool = True) -> Iterator[Connection]:
    """Open an existing file without foreign keys, or a connection to a server.

    Migrations of a file need them off, which is SQLite's default: to change a table it is often
    built anew, and dropping the old one would delete all that refers to it. The file is opened for
    writing also where it is only read, since a reader could not clear away the log that it had to
    make.

    With a server, who is `patient` waits for a statement as long as for another upgrade.
    """
    stack = ExitStack()

    def connect() -> Any:  # noqa: ANN401 - one driver's or the other's
        if isinstance(store, Path):
            uri = f"{store.absolute().as_uri()}?mode=rw"
            return sqlite3.connect(uri, uri=True, timeout=_LOCK_SECONDS, isolation_level=None)
        connection = _connect_to(store, patient=patient)
        if not patient:
            # before SQLAlchemy asks it anything
            stack.enter_context(connecting.cut_after(2 * store.timeout, connection))
        return connection

    kind = "sqlite://" if isinstance(store, Path) else "postgresql+psycopg://"
    engine = create_engine(kind, creator=connect, poolclass=NullPool, hide_parameters=True)
    with stack, closing(engine.connect()) as connection:
        yield connection


def _connect_to(store: PostgresServer, *, patient: bool) -> "psycopg.Connection[Any]":
    """Open a connection to the primary.

    Raises:
        psycopg.Error, WrongPrimary: there is none.
        InvalidInput: the database can't hold what people are called.
    """
    # A server that is gone is left for the next one as soon as ever: all commands begin here.
    connect_timeout = store.parameters()["connect_timeout"]
    server = replace(store, timeout=_LOCK_SECONDS) if patient else store
    connection = connecting.connect(server, connect_timeout=connect_timeout)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in {"UTF8", None}:
        # Where the system has no language, it is SQL_ASCII unless one says something else.
        connection.close()
        raise InvalidInput(
            f"{store} has the encoding {encoding}, which has no room for all names: make it anew, "
            "with ENCODING 'UTF8' TEMPLATE template0"
        )
    return held_against(store, connection)


def held_against(
    store: PostgresServer, connection: "psycopg.Connection[Any]"
) -> "psycopg.Connection[Any]":
    """Return a connection to the primary, as far as one knows, for SQLAlchemy.

    Raises:
        psycopg.Error: the server did not say what it is.
        WrongPrimary: it is an old primary.
    """
    try:
        connecting.rank_of(store, connection)
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def _state(connection: Connection) -> SchemaState:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return SchemaState.EMPTY
    if "alembic_version" not in tables:
        return SchemaState.NEWER
    scripts = ScriptDirectory(str(MIGRATIONS))
    revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if revision == scripts.get_current_head():
        return SchemaState.UNFINISHED if _fact(connection, UNFINISHED) else SchemaState.CURRENT
    known = {script.revision for script in scripts.walk_revisions()}
    if revision in known:
        return SchemaState.OUTDATED
    return SchemaState.COMPATIBLE if _may_go_on(connection, scripts) else SchemaState.NEWER


def _may_go_on(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Whether a later version says that this one may use its tables."""
    if "facts" not in inspect(connection).get_table_names():
        return False
    known = [script.revision for script in scripts.walk_revisions()]
    # Of a version between the two, if this one does not know it.
    return _fact(connection, OLDEST) in known


def _fact(connection: Connection, name: str) -> str | None:
    return connection.execute(select(facts.c.value).where(facts.c.name == name)).scalar()


def _say_who_may_go_on(connection: Connection) -> None:
    """Write down what the newest migration says; nobody but its own program if it says nothing."""
    head = ScriptDirectory(str(MIGRATIONS)).get_revision("head")
    oldest = getattr(head.module, "oldest_program", head.revision)
    connection.execute(delete(facts).where(facts.c.name == OLDEST))
    connection.execute(insert(facts).values(name=OLDEST, value=oldest))


def _run_migrations(connection: Connection) -> None:
    config = Config(attributes={"connection": connection})
    # the percent sign is special in ini files, as which Alembic treats its options
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")


def _use_wal(connection: Connection) -> None:
    """Switch the file to write-ahead logging, which it remembers.

    SQLite does not wait for others here but fails at once, so wait for them by taking the lock.
    """
    for attempt in range(1, _WAL_ATTEMPTS + 1):
        try:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        except OperationalError:
            if attempt == _WAL_ATTEMPTS:
                raise
            connection.rollback()
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.rollback()
        else:
            return
