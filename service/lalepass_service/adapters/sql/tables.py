"""What is in the database. `migrations` makes exactly this; a test compares the two."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    false,
    literal_column,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from lalepass_service.adapters.sql.session import instant, text_of

_TIME: Final = TIMESTAMP(timezone=True)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC: a time in PostgreSQL; in SQLite, which has none, ISO 8601 text of one width.

    Such text sorts, and an operator can read it.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose how it is stored."""
        return dialect.type_descriptor(_TIME if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | datetime | None:
        """Write a time.

        Raises:
            ValueError: it is naive, so that nobody can say which moment is meant.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone can't be stored")
        return value.astimezone(UTC) if dialect.name == "postgresql" else text_of(value)

    def process_result_value(
        self,
        value: str | datetime | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> datetime | None:
        """Read a time."""
        return None if value is None else instant(value)


class Flag(TypeDecorator[bool]):
    """True or false; in SQLite as 1 or 0, since strict tables know no BOOLEAN."""

    impl = Integer
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose how it is stored."""
        return dialect.type_descriptor(Boolean() if dialect.name == "postgresql" else Integer())

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> int | bool | None:  # noqa: FBT001 - SQLAlchemy's signature
        """Write a flag."""
        if value is None:
            return None
        return bool(value) if dialect.name == "postgresql" else int(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> bool | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read a flag."""
        return None if value is None else bool(value)


_TEXT: Final = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""In order by code point, as in SQLite, whatever the language of the server."""

_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows only where the column is called INTEGER, which has as many bits there."""

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


def _table(
    name: str, *parts: Column[Any] | CheckConstraint | Index, numbered: bool = False
) -> Table:
    # Strict: without it SQLite stores text in an integer column and says nothing.
    # Numbered: a number is never given twice, also when the row that had the highest is gone.
    return Table(name, metadata, *parts, sqlite_strict=True, sqlite_autoincrement=numbered)


def _owner(*, primary_key: bool = True) -> Column[str]:
    return Column(
        "user_id", _TEXT, ForeignKey("users.id", ondelete="CASCADE"), primary_key=primary_key
    )


users = _table(
    "users",
    Column("id", _TEXT, primary_key=True),
    Column("localpart", _TEXT, nullable=False, unique=True),
    Column("display_name", _TEXT),
    Column("state", _TEXT, nullable=False),
    Column("admin", Flag, nullable=False),
    Column("created_at", Instant, nullable=False),
    # when its wrong passwords were last forgotten, for those who count them in another store
    Column("unlocked_at", Instant),
    CheckConstraint("state IN ('active', 'disabled')", name="state"),
    CheckConstraint("admin IN (0, 1)", name="admin").ddl_if(dialect="sqlite"),
    # Followers read all of these when they start, in pages by name.
    Index(
        "ix_users_locked",
        "localpart",
        sqlite_where=literal_column("state") != literal_column("'active'"),
        postgresql_where=literal_column("state") != literal_column("'active'"),
    ),
)

user_emails = _table(
    "user_emails",
    _owner(),
    Column("position", Integer, primary_key=True),
    Column("address", _TEXT, nullable=False, unique=True),
)

user_phones = _table(
    "user_phones",
    _owner(),
    Column("position", Integer, primary_key=True),
    Column("number", _TEXT, nullable=False, unique=True),
)

passwords = _table(
    "passwords",
    _owner(),
    # a PHC string or a foreign hash, or either of them wrapped with the key `key_id`
    Column("phc", _TEXT, nullable=False),
    Column("changed_at", Instant, nullable=False),
    # which Unicode normal form the password had when it was hashed: nfc, nfkc or none
    Column("normal_form", _TEXT, nullable=False, server_default="nfc"),
    Column("key_id", _TEXT, index=True),
    Column("must_change", Flag, nullable=False, server_default=false()),
    # a temporary password's end
    Column("expires_at", Instant),
    # which hash at which cost, so that they can be counted when the records are wrapped
    Column("scheme", _TEXT, nullable=False, server_default="argon2id", index=True),
    CheckConstraint("normal_form IN ('nfc', 'nfkc', 'none')", name="normal_form"),
    CheckConstraint("must_change IN (0, 1)", name="must_change").ddl_if(dialect="sqlite"),
)

lanes = _table(
    "lanes",
    # a user's id, or what was typed if nobody has it: then there is no account to refer to
    Column("account", _TEXT, primary_key=True),
    # a known source's digest, or empty for everybody else
    Column("lane", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("not_before", Instant),
    # keyed digests of one length, one behind the other, the newest at the end
    Column("ring", LargeBinary, nullable=False),
    Column("changed_at", Instant, nullable=False, index=True),
)

known_sources = _table(
    "known_sources",
    _owner(),
    Column("source", LargeBinary, primary_key=True),
    Column("seen_at", Instant, nullable=False, index=True),
)

audit = _table(
    "audit",
    Column("id", _NUMBER, primary_key=True),
    Column("at", Instant, nullable=False, index=True),
    # what happened, and how it ended
    Column("event", _TEXT, nullable=False),
    Column("outcome", _TEXT, nullable=False),
    # who did it: a caller's name, or an operator
    Column("actor", _TEXT, nullable=False),
    # whom it was about; no foreign key, since the trail outlives the account
    Column("user_id", _TEXT, index=True),
    Column("localpart", _TEXT, index=True),
    Column("source_ip", _TEXT),
    Column("user_agent", _TEXT),
    Column("request_id", _TEXT),
    # more facts, as a JSON object
    Column("details", _TEXT),
)

retired_names = _table(
    "retired_names",
    Column("localpart", _TEXT, primary_key=True),
    Column("retired_at", Instant, nullable=False),
)

tokens = _table(
    "tokens",
    Column("id", _TEXT, primary_key=True),
    Column("name", _TEXT, nullable=False, index=True),
    # the names of the scopes, with blanks between
    Column("scopes", _TEXT, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)

facts = _table(
    "facts",
    # database_id: random, made with the database, so that a place in another one's feed is known
    # oldest_program: the lowest revision whose program may use these tables: see `migrate`
    # retired_key:<id>: when nothing was to be wrapped with it any more: see `retired`
    Column("name", _TEXT, primary_key=True),
    Column("value", _TEXT, nullable=False),
)

turns = _table(
    "turns",
    # what is done by one replica for all, and when the last one did
    Column("name", _TEXT, primary_key=True),
    Column("taken_at", Instant, nullable=False),
)

changes = _table(
    "changes",
    # Whoever writes here holds the only write lock (`engine.Database.write`), so places become
    # visible in their order: a follower that reads 8 never looks for 7 again.
    Column("seq", _NUMBER, primary_key=True),
    # no foreign key: of a deleted account this is what is left
    Column("user_id", _TEXT, nullable=False, unique=True),
    Column("localpart", _TEXT, nullable=False, index=True),
    numbered=True,
)

sign_outs = _table(
    "sign_outs",
    Column("seq", _NUMBER, primary_key=True),
    Column("id", _TEXT, nullable=False, unique=True),
    # no foreign key: the sessions of a deleted account have to end, too
    Column("user_id", _TEXT, nullable=False, unique=True),
    Column("localpart", _TEXT, nullable=False),
    Column("ordered_at", Instant, nullable=False, index=True),
    numbered=True,
)

acknowledged = _table(
    "acknowledged",
    Column("caller", _TEXT, primary_key=True),
    Column(
        "order_id",
        _TEXT,
        ForeignKey("sign_outs.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

order_marks = _table(
    "order_marks",
    # every order up to `seq` is acknowledged by this caller; of those behind it some may be
    Column("caller", _TEXT, primary_key=True),
    Column("seq", _NUMBER, nullable=False),
)

sign_ins = _table(
    "sign_ins",
    Column("number", _NUMBER, primary_key=True),
    # of the two reports that it was made of, either of which may be missing or come first
    Column("in_id", _TEXT, unique=True),
    Column("out_id", _TEXT, unique=True),
    Column("user_id", _TEXT, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    # the name of the token that reported it
    Column("caller", _TEXT, nullable=False),
    Column("device_id", _TEXT),
    Column("signed_in_at", Instant),
    Column("signed_out_at", Instant),
    Column("ip", _TEXT),
    Column("user_agent", _TEXT),
    # when the last of the reports came
    Column("reported_at", Instant, nullable=False, index=True),
    Index("ix_sign_ins_user_id_number", "user_id", "number"),
)
