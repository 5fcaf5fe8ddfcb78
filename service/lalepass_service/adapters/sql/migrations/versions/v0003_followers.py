"""What followers need: the feed, orders to sign out, and what homeservers report."""

import secrets

import sqlalchemy as sa
from alembic import op

from lalepass_service.adapters.sql.migrations.columns import NUMBER, TEXT, TIME

revision = "0003"
down_revision = "0002"

_LOCKED = sa.text("state != 'active'")


def upgrade() -> None:
    """Make the tables."""
    op.create_index(
        "ix_users_locked", "users", ["localpart"], sqlite_where=_LOCKED, postgresql_where=_LOCKED
    )
    _database_id()
    op.create_table(
        "changes",
        sa.Column("seq", NUMBER, nullable=False, primary_key=True),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("localpart", TEXT, nullable=False),
        sa.UniqueConstraint("user_id", name=op.f("uq_changes_user_id")),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_changes_localpart"), "changes", ["localpart"])
    _orders()
    _sign_ins()


def downgrade() -> None:
    """Refuse: homeservers would go on from a feed that is gone.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("followers would not notice: restore a backup")


def _database_id() -> None:
    facts = op.create_table(
        "facts",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_facts")),
        sqlite_strict=True,
    )
    op.bulk_insert(facts, [{"name": "database_id", "value": secrets.token_hex(8)}])


def _orders() -> None:
    op.create_table(
        "sign_outs",
        sa.Column("seq", NUMBER, nullable=False, primary_key=True),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("localpart", TEXT, nullable=False),
        sa.Column("ordered_at", TIME, nullable=False),
        sa.UniqueConstraint("id", name=op.f("uq_sign_outs_id")),
        sa.UniqueConstraint("user_id", name=op.f("uq_sign_outs_user_id")),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_sign_outs_ordered_at"), "sign_outs", ["ordered_at"])
    op.create_table(
        "acknowledged",
        sa.Column("caller", TEXT, nullable=False),
        sa.Column("order_id", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["sign_outs.id"],
            name=op.f("fk_acknowledged_order_id_sign_outs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("caller", "order_id", name=op.f("pk_acknowledged")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_acknowledged_order_id"), "acknowledged", ["order_id"])
    op.create_table(
        "order_marks",
        sa.Column("caller", TEXT, nullable=False),
        sa.Column("seq", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("caller", name=op.f("pk_order_marks")),
        sqlite_strict=True,
    )


def _sign_ins() -> None:
    op.create_table(
        "sign_ins",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("in_id", TEXT),
        sa.Column("out_id", TEXT),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("caller", TEXT, nullable=False),
        sa.Column("device_id", TEXT),
        sa.Column("signed_in_at", TIME),
        sa.Column("signed_out_at", TIME),
        sa.Column("ip", TEXT),
        sa.Column("user_agent", TEXT),
        sa.Column("reported_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sign_ins_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_sign_ins")),
        sa.UniqueConstraint("in_id", name=op.f("uq_sign_ins_in_id")),
        sa.UniqueConstraint("out_id", name=op.f("uq_sign_ins_out_id")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_sign_ins_reported_at"), "sign_ins", ["reported_at"])
    op.create_index("ix_sign_ins_user_id_number", "sign_ins", ["user_id", "number"])
