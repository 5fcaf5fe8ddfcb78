"""What the columns of the migrations are made of, on either database. Never to be changed."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

TEXT: Final = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
TIME: Final = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
FLAG: Final = sa.Integer().with_variant(sa.Boolean(), "postgresql")
NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def flag_check(name: str, column: str) -> sa.CheckConstraint:
    """Return what holds a flag to 0 and 1 where there is no type for it."""
    return sa.CheckConstraint(f"{column} IN (0, 1)", name=name).ddl_if(dialect="sqlite")
