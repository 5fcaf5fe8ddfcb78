"""When an account was last unlocked: a fact that holds also where Valkey counts and is away.

A program of before does not read it. It goes by what Valkey has, as it always did: who is unlocked
by a newer one while Valkey is away is held up there until they come to a newer one.
"""

import sqlalchemy as sa
from alembic import op

from lalepass_service.adapters.sql.migrations.columns import TIME

revision = "0005"
down_revision = "0004"
oldest_program = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("users", sa.Column("unlocked_at", TIME))


def downgrade() -> None:
    """Drop it: what was unlocked while Valkey was away may be locked again."""
    op.drop_column("users", "unlocked_at")
