"""What the rules of a check need: keys and forms of records, lanes, known sources, audit."""

import sqlalchemy as sa
from alembic import op

from lalepass_service.adapters.sql.migrations.columns import FLAG, NUMBER, TEXT, TIME

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add to the passwords, and make the new tables."""
    _passwords()
    _lanes()
    _known_sources()
    _audit()


def downgrade() -> None:
    """Refuse: wrapped records could not be read any more.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("records may be wrapped: restore a backup")


def _passwords() -> None:
    # SQLite can't add a constraint to a table: this builds it anew, in the same transaction.
    with op.batch_alter_table("passwords", table_kwargs={"sqlite_strict": True}) as table:
        table.add_column(sa.Column("normal_form", TEXT, nullable=False, server_default="nfc"))
        table.add_column(sa.Column("key_id", TEXT))
        table.add_column(sa.Column("must_change", FLAG, nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("expires_at", TIME))
        table.add_column(sa.Column("scheme", TEXT, nullable=False, server_default="argon2id"))
        table.create_check_constraint(
            op.f("ck_passwords_normal_form"), "normal_form IN ('nfc', 'nfkc', 'none')"
        )
        if op.get_context().dialect.name == "sqlite":
            table.create_check_constraint(op.f("ck_passwords_must_change"), "must_change IN (0, 1)")
    op.create_index(op.f("ix_passwords_key_id"), "passwords", ["key_id"])
    op.create_index(op.f("ix_passwords_scheme"), "passwords", ["scheme"])


def _lanes() -> None:
    op.create_table(
        "lanes",
        sa.Column("account", TEXT, nullable=False),
        sa.Column("lane", sa.LargeBinary(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("not_before", TIME),
        sa.Column("ring", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("account", "lane", name=op.f("pk_lanes")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_lanes_changed_at"), "lanes", ["changed_at"])


def _known_sources() -> None:
    op.create_table(
        "known_sources",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_known_sources_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "source", name=op.f("pk_known_sources")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_known_sources_seen_at"), "known_sources", ["seen_at"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("event", TEXT, nullable=False),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("user_id", TEXT),
        sa.Column("localpart", TEXT),
        sa.Column("source_ip", TEXT),
        sa.Column("user_agent", TEXT),
        sa.Column("request_id", TEXT),
        sa.Column("details", TEXT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_strict=True,
    )
    for column in ("at", "user_id", "localpart"):
        op.create_index(op.f(f"ix_audit_{column}"), "audit", [column])
