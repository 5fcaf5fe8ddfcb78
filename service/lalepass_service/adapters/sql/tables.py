"""What is in the database. `migrations` makes exactly this; a test compares the two."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, as ISO 8601 text of one width: it sorts, and an operator can read it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write a time.

        Raises:
            ValueError: it is naive, so that nobody can say which moment is meant.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone can't be stored")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read a time."""
        return None if value is None else datetime.fromisoformat(value)


class Flag(TypeDecorator[bool]):
    """True or false as 1 or 0: strict tables know no BOOLEAN."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> int | None:  # noqa: ARG002, FBT001 - SQLAlchemy's signature
        """Write a flag."""
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> bool | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read a flag."""
        return None if value is None else bool(value)


metadata = MetaData(
    # Named, so that a later migration can drop them.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _table(name: str, *parts: Column[Any] | CheckConstraint) -> Table:
    # Strict: without it SQLite stores text in an integer column and says nothing.
    return Table(name, metadata, *parts, sqlite_strict=True)


def _owner(*, primary_key: bool = True) -> Column[str]:
    return Column(
        "user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=primary_key
    )


users = _table(
    "users",
    Column("id", Text, primary_key=True),
    Column("localpart", Text, nullable=False, unique=True),
    Column("display_name", Text),
    Column("state", Text, nullable=False),
    Column("admin", Flag, nullable=False),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("state IN ('active', 'disabled')", name="state"),
    CheckConstraint("admin IN (0, 1)", name="admin"),
)

user_emails = _table(
    "user_emails",
    _owner(),
    Column("position", Integer, primary_key=True),
    Column("address", Text, nullable=False, unique=True),
)

user_phones = _table(
    "user_phones",
    _owner(),
    Column("position", Integer, primary_key=True),
    Column("number", Text, nullable=False, unique=True),
)

passwords = _table(
    "passwords",
    _owner(),
    Column("phc", Text, nullable=False),
    Column("changed_at", Instant, nullable=False),
)

retired_names = _table(
    "retired_names",
    Column("localpart", Text, primary_key=True),
    Column("retired_at", Instant, nullable=False),
)

tokens = _table(
    "tokens",
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, index=True),
    # the names of the scopes, with blanks between
    Column("scopes", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)
