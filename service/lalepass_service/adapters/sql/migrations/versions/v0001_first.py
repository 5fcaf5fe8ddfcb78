"""Accounts, their addresses and passwords, the names of the deleted, and tokens."""

import sqlalchemy as sa
from alembic import op

from lalepass_service.adapters.sql.migrations.columns import FLAG, TEXT, TIME, flag_check

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "users",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("localpart", TEXT, nullable=False),
        sa.Column("display_name", TEXT),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("admin", FLAG, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('active', 'disabled')", name=op.f("ck_users_state")),
        flag_check(op.f("ck_users_admin"), "admin"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("localpart", name=op.f("uq_users_localpart")),
        sqlite_strict=True,
    )
    _owned_list("user_emails", "address")
    _owned_list("user_phones", "number")
    op.create_table(
        "passwords",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("phc", TEXT, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        _owner("passwords"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_passwords")),
        sqlite_strict=True,
    )
    op.create_table(
        "retired_names",
        sa.Column("localpart", TEXT, nullable=False),
        sa.Column("retired_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("localpart", name=op.f("pk_retired_names")),
        sqlite_strict=True,
    )
    _tokens()


def downgrade() -> None:
    """Refuse: it would delete every account.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("there is nothing before the first revision: restore a backup")


def _owned_list(table: str, value: str) -> None:
    op.create_table(
        table,
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column(value, TEXT, nullable=False),
        _owner(table),
        sa.PrimaryKeyConstraint("user_id", "position", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(value, name=op.f(f"uq_{table}_{value}")),
        sqlite_strict=True,
    )


def _owner(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id_users"), ondelete="CASCADE"
    )


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_tokens_name"), "tokens", ["name"])
