"""Moves a whole installation from a file to a server, or back. Blocks; nobody may be using either.

Rows go in the order of their keys, many to a transaction. So what is there already says where to
go on after an interruption, and a fact in the target says that it is no database yet.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Connection,
    Integer,
    NullPool,
    Table,
    create_engine,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    tuple_,
)
from sqlalchemy.exc import IntegrityError, OperationalError

from lalepass_service.adapters.sql import connecting, postgres
from lalepass_service.adapters.sql.engine import translated
from lalepass_service.adapters.sql.migrate import (
    OLDEST,
    UNFINISHED,
    SchemaState,
    Store,
    held_against,
    schema_state,
    upgrade,
)
from lalepass_service.adapters.sql.tables import facts, metadata
from lalepass_service.core.errors import InvalidInput

_BATCH: Final = 2000
_SECONDS: Final = 60.0
_LOOKS: Final = 10
_LOOK_PAUSE: Final = 0.1
_ITS_OWN: Final = (OLDEST, UNFINISHED)
"""Facts of each database that say nothing about what is in it."""

_TABLES: Final = tuple(table for table in metadata.sorted_tables if table is not facts)
"""Whom others refer to comes first."""

_OTHERS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'lalepass' AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is."""

    doing: str
    table: str
    done: int
    of: int


Say = Callable[[Progress], None]


def move(source: Store, target: Store, *, say: Say, batch: int = _BATCH) -> int:
    """Copy all that is in the source, compare the two, and return how many rows there are.

    What was interrupted goes on where it was. The target keeps the id of the source, so that those
    who follow its feed go on, too.

    Args:
        source: a database of this version.
        target: one with nothing in it, or an unfinished copy of this source.
        say: is told now and then.
        batch: how many rows go at a time.

    Raises:
        InvalidInput: one of them is not as it has to be, or is in use; or they differ at the end.
        StoreUnavailable: the source can't be read, or the target can't be written.
    """
    with translated():
        for store in (source, target):
            _require_direct(store)
        if schema_state(source) is not SchemaState.CURRENT:
            raise InvalidInput(
                f"{source} is no database of this version of lalepass: see `lalepass db status`"
            )
        with _opened(source) as origin:
            _keep_others_out(origin, source)
            _prepare(target, _id_of(origin), source=source)
            with _opened(target) as copied:
                _keep_others_out(copied, target)
                moving = _Move(origin, copied, say=say, batch=batch)
                count = moving.run()
                # Whoever has come meanwhile may have changed what was compared already.
                for store, connection in ((source, origin), (target, copied)):
                    if not isinstance(store, Path):
                        _keep_others_out(connection, store)
                moving.finish()
                return count


class _Move:
    def __init__(self, origin: Connection, copied: Connection, *, say: Say, batch: int) -> None:
        self._origin = origin
        self._copied = copied
        self._say = say
        self._batch = batch

    def run(self) -> int:
        """Copy and compare; return how many rows there are."""
        sizes = {table: _size(self._origin, table) for table in _TABLES}
        for table, size in sizes.items():
            self._copy(table, size)
        differing = [table.name for table, size in sizes.items() if not self._equal(table, size)]
        if differing:
            raise InvalidInput(
                f"the copy differs in {', '.join(differing)}: was the source used meanwhile? "
                "Empty the target, and begin anew"
            )
        self._analyze()
        return sum(sizes.values())

    def _copy(self, table: Table, size: int) -> None:
        done = _size(self._copied, table)
        while True:
            # Where to go on is read behind the lock: another one may be at it, too.
            _begin(self._copied)
            rows = _behind(self._origin, table, _last_key(self._copied, table), self._batch)
            if rows:
                self._insert(table, rows)
            self._copied.commit()
            done += len(rows)
            self._say(Progress(doing="copied", table=table.name, done=done, of=size))
            if len(rows) < self._batch:
                return

    def _insert(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        try:
            self._copied.execute(insert(table), rows)
        except IntegrityError as error:
            self._copied.rollback()
            raise InvalidInput(
                f"what is in {table.name} does not go together with the copy: was the source "
                "used meanwhile? Empty the target, and begin anew"
            ) from error

    def _equal(self, table: Table, size: int) -> bool:
        mine, its = (_digest(each, table, self._batch) for each in (self._origin, self._copied))
        self._say(Progress(doing="compared", table=table.name, done=its[0], of=size))
        return mine == its

    def _analyze(self) -> None:
        """Have the server look at what it has got.

        It plans for empty tables otherwise, until it looks by itself, which is after the service
        has started. A file needs none of it: all that is asked goes by keys there.
        """
        if self._copied.dialect.name == "sqlite":
            return
        for table in _TABLES:
            self._copied.exec_driver_sql(f'ANALYZE "{table.name}"')
            self._copied.commit()

    def finish(self) -> None:
        """Hand over the numbers and the facts: from here on it is a database."""
        _begin(self._copied)
        for table in _TABLES:
            if table.autoincrement_column is not None:
                _count_on(self._copied, table, _highest(self._origin, table))
        query = select(facts).where(facts.c.name.not_in(_ITS_OWN))
        rows = [dict(row) for row in self._origin.execute(query).mappings()]
        self._copied.execute(delete(facts).where(facts.c.name != OLDEST))
        self._copied.execute(insert(facts), rows)
        self._copied.commit()


def _prepare(target: Store, database_id: str, *, source: Store) -> None:
    """Make the tables, and write down that they are not yet a database, and whose copy it is."""
    state = schema_state(target)
    if state is SchemaState.EMPTY:
        upgrade(target)
    elif state not in {SchemaState.CURRENT, SchemaState.UNFINISHED}:
        raise InvalidInput(f"{target} has tables of another program, or another version")
    with _opened(target) as connection:
        _begin(connection)
        query = select(facts.c.value).where(facts.c.name == UNFINISHED)
        begun = connection.execute(query).scalar()
        if begun is not None and json.loads(begun) != database_id:
            raise InvalidInput(f"{target} is an unfinished copy of another database than {source}")
        if begun is None:
            if any(_size(connection, table) for table in _TABLES):
                raise InvalidInput(f"{target} is not empty")
            value = json.dumps(database_id)
            connection.execute(insert(facts).values(name=UNFINISHED, value=value))
        connection.commit()


@contextmanager
def _opened(store: Store) -> Iterator[Connection]:
    def connect() -> Any:  # noqa: ANN401 - one driver's or the other's
        if isinstance(store, Path):
            uri = f"{store.absolute().as_uri()}?mode=rw"
            return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
        return held_against(store, connecting.connect(replace(store, timeout=_SECONDS)))

    kind = "sqlite://" if isinstance(store, Path) else "postgresql+psycopg://"
    engine = create_engine(kind, creator=connect, poolclass=NullPool, hide_parameters=True)
    with closing(engine.connect()) as connection:
        yield connection


def _keep_others_out(connection: Connection, store: Store) -> None:
    """Hold the lock on a file to the end; of a server, find out who is there now."""
    in_use = InvalidInput(f"{store} is in use: stop the service first")
    if not isinstance(store, Path):
        # The server takes a moment to see that somebody has gone, such as we ourselves just now.
        for _ in range(_LOOKS):
            others = connection.execute(text(_OTHERS)).scalar()
            connection.rollback()
            if not others:
                return
            time.sleep(_LOOK_PAUSE)  # noqa: TID251 - of a command, which has nothing else to do
        raise in_use
    try:
        for statement in ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "COMMIT"):
            connection.exec_driver_sql(statement)
    except OperationalError as error:
        raise in_use from error


def _require_direct(store: Store) -> None:
    """Refuse a pooler, which keeps connections open behind those who have gone.

    Nobody could tell who else is there. The number of the process that serves us comes with the
    answer to a connection (PostgreSQL, "Message Formats", BackendKeyData); PgBouncer makes one up,
    as it does not know yet which it will be.

    Raises:
        InvalidInput: it is one.
    """
    if isinstance(store, Path):
        return
    with _opened(store) as connection:
        answered: Any = connection.connection.dbapi_connection
        serves = connection.execute(select(func.pg_backend_pid())).scalar()
        if serves != answered.info.backend_pid:
            raise InvalidInput(f"{store} is a pooler: name the server itself")


def _begin(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({postgres.MIGRATION})")


def _id_of(connection: Connection) -> str:
    query = select(facts.c.value).where(facts.c.name == "database_id")
    return str(connection.execute(query).scalar_one())


def _size(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _last_key(connection: Connection, table: Table) -> tuple[Any, ...] | None:
    key = list(table.primary_key)
    query = select(*key).order_by(*(column.desc() for column in key)).limit(1)
    row = connection.execute(query).first()
    return tuple(row) if row is not None else None


def _behind(
    connection: Connection, table: Table, last: tuple[Any, ...] | None, batch: int
) -> list[dict[str, Any]]:
    """Return the next rows. Both databases have the same order: that of code points, of bytes."""
    key = list(table.primary_key)
    query = select(table).order_by(*key).limit(batch)
    if last is not None:
        query = query.where(tuple_(*key) > last) if len(key) > 1 else query.where(key[0] > last[0])
    rows = [
        {name: _taken(value) for name, value in row.items()}
        for row in connection.execute(query).mappings()
    ]
    if connection.dialect.name != "sqlite":
        # or the server ends what is idle in a transaction while the other side writes
        connection.rollback()
    return rows


def _taken(value: object) -> object:
    """Return a value as both databases take it: PostgreSQL has no text with U+0000 in it."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def _digest(connection: Connection, table: Table, batch: int) -> tuple[int, str]:
    """Return how many rows there are, and a digest of all that is in them."""
    digest, count = sha256(), 0
    names = [column.name for column in table.primary_key]
    last: tuple[Any, ...] | None = None
    while rows := _behind(connection, table, last, batch):
        for row in rows:
            digest.update(repr(sorted(row.items())).encode())
        count += len(rows)
        last = tuple(rows[-1][name] for name in names)
    return count, digest.hexdigest()


def _highest(connection: Connection, table: Table) -> int:
    """Return the highest number that was ever given, also if its row is gone."""
    (column,) = table.primary_key
    there = connection.execute(select(func.max(column))).scalar() or 0
    if connection.dialect.name == "sqlite":
        query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        return max(there, connection.execute(query, {"name": table.name}).scalar() or 0)
    sequence = connection.execute(_sequence(table)).scalar_one()
    last = literal_column("last_value", Integer)
    called = literal_column("is_called", Boolean)
    given, is_called = connection.execute(select(last, called).select_from(text(sequence))).one()
    connection.rollback()
    return max(there, given if is_called else 0)


def _count_on(connection: Connection, table: Table, highest: int) -> None:
    if highest == 0:
        return
    if connection.dialect.name != "sqlite":
        sequence = connection.execute(_sequence(table)).scalar_one()
        connection.execute(select(func.setval(sequence, highest)))
    elif table.dialect_options["sqlite"]["autoincrement"]:
        values = {"name": table.name, "highest": highest}
        for statement in (
            "DELETE FROM sqlite_sequence WHERE name = :name",
            "INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :highest)",
        ):
            connection.execute(text(statement), values)


def _sequence(table: Table) -> Any:  # noqa: ANN401 - a statement that returns one name
    (column,) = table.primary_key
    return select(func.pg_get_serial_sequence(table.name, column.name))
