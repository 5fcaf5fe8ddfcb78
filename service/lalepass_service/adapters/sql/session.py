"""What a function on the hot path gets: one connection, on SQLite or on PostgreSQL.

The statements are the same text on both, with SQLite's question marks; where the two differ, it is
an `Either`. Times are bound as text, which PostgreSQL reads as what the column is.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    import psycopg

Engine = Literal["sqlite", "postgresql"]

_MARK = re.compile(r"\?(\d*)")


@dataclass(frozen=True, slots=True)
class Either:
    """A statement that the two databases spell differently."""

    sqlite: str
    postgresql: str


class Rows(Protocol):
    """What a statement returned."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401 - a row is whatever was asked for
        """Return the next row, if there is one."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Go through the rows."""
        ...


class Session(Protocol):
    """A connection, lent to one function."""

    engine: ClassVar[Engine]

    def run(self, statement: str | Either, values: Sequence[object] = ()) -> Rows:
        """Run one statement."""
        ...

    def run_many(self, statement: str | Either, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement with each of these rows."""
        ...


class SqliteSession(sqlite3.Connection):
    """A connection to a file."""

    engine: ClassVar[Engine] = "sqlite"

    def run(self, statement: str | Either, values: Sequence[object] = ()) -> Rows:
        """Run one statement."""
        text = statement if isinstance(statement, str) else statement.sqlite
        return self.execute(text, values)

    def run_many(self, statement: str | Either, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement with each of these rows."""
        text = statement if isinstance(statement, str) else statement.sqlite
        self.executemany(text, rows)


class PostgresSession:
    """A connection to a server. Its cursors take numbered parameters (psycopg's RawCursor)."""

    engine: ClassVar[Engine] = "postgresql"

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    def run(self, statement: str | Either, values: Sequence[object] = ()) -> Rows:
        """Run one statement."""
        return self._connection.execute(_numbered(statement), values)

    def run_many(self, statement: str | Either, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement with each of these rows."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_numbered(statement), rows)


def instant(cell: str | datetime) -> datetime:
    """Return a time as the database gave it: text in SQLite, a time in PostgreSQL."""
    return datetime.fromisoformat(cell) if isinstance(cell, str) else cell.astimezone(UTC)


def text_of(moment: datetime) -> str:
    """Return a time as `tables.Instant` writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


@lru_cache(maxsize=512)
def _numbered(statement: str | Either) -> bytes:
    """Write a statement as PostgreSQL has it: `?` in their order or `?2` become `$1`, `$2`.

    As bytes, which psycopg takes as they are: the texts are constants of this package.
    """
    text = statement if isinstance(statement, str) else statement.postgresql
    places = iter(range(1, 1000))
    return _MARK.sub(lambda mark: f"${mark[1] or next(places)}", text).encode()
