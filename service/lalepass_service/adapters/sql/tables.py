"""What is in the database. `migrations` makes exactly this; a test compares the two."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
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
    literal_column,
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


def _table(
    name: str, *parts: Column[Any] | CheckConstraint | Index, numbered: bool = False
) -> Table:
    # Strict: without it SQLite stores text in an integer column and says nothing.
    # Numbered: a number is never given twice, also when the row that had the highest is gone.
    return Table(name, metadata, *parts, sqlite_strict=True, sqlite_autoincrement=numbered)


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
    # Followers read all of these when they start, in pages by name.
    Index(
        "ix_users_locked",
        "localpart",
        sqlite_where=literal_column("state") != literal_column("'active'"),
    ),
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
    # a PHC string or a foreign hash, or either of them wrapped with the key `key_id`
    Column("phc", Text, nullable=False),
    Column("changed_at", Instant, nullable=False),
    # which Unicode normal form the password had when it was hashed: nfc, nfkc or none
    Column("normal_form", Text, nullable=False, server_default="nfc"),
    Column("key_id", Text, index=True),
    Column("must_change", Flag, nullable=False, server_default="0"),
    # a temporary password's end
    Column("expires_at", Instant),
    # which hash at which cost, so that they can be counted when the records are wrapped
    Column("scheme", Text, nullable=False, server_default="argon2id", index=True),
    CheckConstraint("normal_form IN ('nfc', 'nfkc', 'none')", name="normal_form"),
    CheckConstraint("must_change IN (0, 1)", name="must_change"),
)

lanes = _table(
    "lanes",
    # a user's id, or what was typed if nobody has it: then there is no account to refer to
    Column("account", Text, primary_key=True),
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
    Column("id", Integer, primary_key=True),
    Column("at", Instant, nullable=False, index=True),
    # what happened, and how it ended
    Column("event", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    # who did it: a caller's name, or an operator
    Column("actor", Text, nullable=False),
    # whom it was about; no foreign key, since the trail outlives the account
    Column("user_id", Text, index=True),
    Column("localpart", Text, index=True),
    Column("source_ip", Text),
    Column("user_agent", Text),
    Column("request_id", Text),
    # more facts, as a JSON object
    Column("details", Text),
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

facts = _table(
    "facts",
    # database_id: random, made with the database, so that a place in another one's feed is known
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

changes = _table(
    "changes",
    # A writer holds SQLite's only write lock, so places become visible in their order. A database
    # with several writers has to see to that: a follower that reads 8 never looks for 7 again.
    Column("seq", Integer, primary_key=True),
    # no foreign key: of a deleted account this is what is left
    Column("user_id", Text, nullable=False, unique=True),
    Column("localpart", Text, nullable=False, index=True),
    numbered=True,
)

sign_outs = _table(
    "sign_outs",
    Column("seq", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    # no foreign key: the sessions of a deleted account have to end, too
    Column("user_id", Text, nullable=False, unique=True),
    Column("localpart", Text, nullable=False),
    Column("ordered_at", Instant, nullable=False, index=True),
    numbered=True,
)

acknowledged = _table(
    "acknowledged",
    Column("caller", Text, primary_key=True),
    Column(
        "order_id",
        Text,
        ForeignKey("sign_outs.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

order_marks = _table(
    "order_marks",
    # every order up to `seq` is acknowledged by this caller; of those behind it some may be
    Column("caller", Text, primary_key=True),
    Column("seq", Integer, nullable=False),
)

sign_ins = _table(
    "sign_ins",
    Column("number", Integer, primary_key=True),
    # of the two reports that it was made of, either of which may be missing or come first
    Column("in_id", Text, unique=True),
    Column("out_id", Text, unique=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    # the name of the token that reported it
    Column("caller", Text, nullable=False),
    Column("device_id", Text),
    Column("signed_in_at", Instant),
    Column("signed_out_at", Instant),
    Column("ip", Text),
    Column("user_agent", Text),
    # when the last of the reports came
    Column("reported_at", Instant, nullable=False, index=True),
    Index("ix_sign_ins_user_id_number", "user_id", "number"),
)
