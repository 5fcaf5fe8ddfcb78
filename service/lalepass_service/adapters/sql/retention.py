"""Deleting what has grown old, a little at a time.

A file has one writer, and every check needs it. A month's rows in one statement would keep it for
seconds; on a server they would run into the time that a statement may take, and never be deleted.
So each statement takes some rows, and others come in between.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.session import Session

AT_ONCE: Final = 1000
"""Rows of one statement: some milliseconds."""

PAUSE_SECONDS: Final = 0.05
"""Between two statements. A million rows take a minute."""

_KEY: Final = "retention"


async def delete_old(
    hot: Hot, table: str, *, key: str, condition: str, values: Sequence[object]
) -> int:
    """Delete the rows of a table that a condition is true of. Returns how many there were.

    What is deleted when it fails in the middle stays deleted, and the next time goes on from there.

    Args:
        hot: the way to the database. Each statement stands for itself, beside what is written.
        table: a constant.
        key: the columns of its primary key.
        condition: with question marks for the values.
        values: what belongs there.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    # Said twice: a row that is changed while the statement waits for it is only looked at once more
    # by what is outside.
    statement = (
        f"DELETE FROM {table} WHERE ({key}) IN"  # noqa: S608 - constants
        f" (SELECT {key} FROM {table} WHERE {condition} LIMIT {AT_ONCE}) AND {condition}"
    )
    work = partial(_rowcount, statement=statement, values=(*values, *values))
    deleted = 0
    while True:
        some = await hot.step(work, key=_KEY)
        deleted += some
        if some < AT_ONCE:
            return deleted
        await asyncio.sleep(PAUSE_SECONDS)


def _rowcount(session: Session, *, statement: str, values: Sequence[object]) -> int:
    return session.run(statement, values).rowcount
