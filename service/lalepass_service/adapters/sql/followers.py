"""What followers have to be told, written in the transaction of the change itself.

So there is no change without its place in the feed, whenever the process dies.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lalepass_service.adapters.sql.acts import note
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.tables import changes, facts, sign_outs
from lalepass_service.core.audit import Entry
from lalepass_service.core.model import UserId

_ID_BYTES: Final = 8


async def mark_changed(connection: AsyncConnection, user_id: UserId, localpart: str) -> None:
    """Move an account to the end of the feed.

    The account that had the name before goes out of it: what is to be said of the name is said
    of the new one.
    """
    old = (changes.c.user_id == user_id) | (changes.c.localpart == localpart)
    await connection.execute(delete(changes).where(old))
    await connection.execute(insert(changes).values(user_id=user_id, localpart=localpart))


async def order_sign_out(
    connection: AsyncConnection,
    user_id: UserId,
    localpart: str,
    *,
    now: Callable[[], datetime],
) -> None:
    """Order that every session of an account ends. It takes the place of an older order.

    The last thing that a transaction does: until it is committed, others read what was before it,
    and what begins meanwhile must not be newer than the order. What is left is the commit itself.
    """
    # followers that wait wake up
    await mark_changed(connection, user_id, localpart)
    await connection.execute(delete(sign_outs).where(sign_outs.c.user_id == user_id))
    await connection.execute(
        insert(sign_outs).values(
            # random, so that a restored backup does not give an id for the second time
            id=secrets.token_hex(_ID_BYTES),
            user_id=user_id,
            localpart=localpart,
            ordered_at=now(),
        )
    )


async def begin_anew(database: Database, *, act: Entry) -> None:
    """Give the database another id, so that no cursor of before is good for it.

    Raises:
        StoreUnavailable: it could not be written.
    """
    own = facts.c.name == "database_id"
    async with database.write() as connection:
        value = secrets.token_hex(_ID_BYTES)
        await connection.execute(update(facts).where(own).values(value=value))
        await note(connection, act)
