"""Which keys are retired: known to the database, and so to every machine that uses it.

The keys are files, and each machine may have a folder of its own. One that was forgotten in a
rotation would go on wrapping with a key that another one has retired, when no record needed it any
more. So the retirement is a fact of the database, written in the transaction that counts the
records, and whoever stores one asks for it in theirs. One of the two comes first.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.session import text_of
from lalepass_service.adapters.sql.tables import facts
from lalepass_service.core.errors import NoAnswer

_NAME: Final = "retired_key:"


async def mark_retired(connection: AsyncConnection, key_id: str, *, at: datetime) -> None:
    """Write down that nothing is to be wrapped with this key any more."""
    name = _NAME + key_id
    await connection.execute(delete(facts).where(facts.c.name == name))
    await connection.execute(insert(facts).values(name=name, value=text_of(at)))


async def refuse_retired(connection: AsyncConnection, key_id: str | None) -> None:
    """Refuse to store a record under a retired key. Within the transaction that stores it.

    Raises:
        NoAnswer: it is retired. No other key is chosen in its place: a folder whose active key is
            retired is one that somebody has to look at.
    """
    query = select(facts.c.value).where(facts.c.name == f"{_NAME}{key_id}")
    if key_id is not None and (await connection.execute(query)).first() is not None:
        raise NoAnswer(retired_here(key_id))


def retired_here(key_id: str) -> str:
    """Say what is wrong where a retired key is the active one."""
    return (
        f"the key {key_id} is retired, and still the active one here: no password can be stored "
        "until another one is promoted (lalepass keys promote)"
    )


async def retired_keys(database: Database) -> frozenset[str]:
    """Return the ids of all keys that were ever retired.

    Raises:
        StoreUnavailable: the database did not answer, or not in time.
    """
    query = select(facts.c.name).where(facts.c.name.startswith(_NAME, autoescape=True))
    async with database.read() as connection:
        names = (await connection.execute(query)).scalars()
        return frozenset(name.removeprefix(_NAME) for name in names)
