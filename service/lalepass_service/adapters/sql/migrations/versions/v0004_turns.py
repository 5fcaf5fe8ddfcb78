"""Whose turn it is to do what one of several replicas does for all."""

import sqlalchemy as sa
from alembic import op

from lalepass_service.adapters.sql.migrations.columns import TEXT, TIME

revision = "0004"
down_revision = "0003"
oldest_program = "0003"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "turns",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("taken_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_turns")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Drop it: nothing is lost."""
    op.drop_table("turns")
