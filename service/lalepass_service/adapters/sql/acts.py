"""What changes accounts and tokens leaves an entry in the trail, in the same transaction."""

import json
from collections.abc import Callable

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.tables import audit
from lalepass_service.core.audit import Entry

Copy = Callable[[Entry], None]
"""Gets each entry once it is committed. It neither fails nor waits: the change is made already."""


def no_copy(_entry: Entry) -> None:
    """Copy nothing."""


async def note(connection: AsyncConnection, act: Entry) -> None:
    """Write the entry of a change, in its transaction."""
    await connection.execute(
        insert(audit).values(
            at=act.at,
            event=act.event,
            outcome=act.outcome,
            actor=act.actor,
            user_id=act.user_id,
            localpart=act.localpart,
            source_ip=act.source_ip,
            user_agent=act.user_agent,
            request_id=act.request_id,
            details=json.dumps(dict(act.details), sort_keys=True) if act.details else None,
        )
    )


class SqlActs:
    """Takes entries of acts that change no database, such as those on files."""

    def __init__(self, database: Database, *, copy: Copy = no_copy) -> None:
        self._database = database
        self._copy = copy

    async def record(self, act: Entry) -> None:
        """Write an entry.

        Raises:
            StoreUnavailable: it could not be written.
        """
        async with self._database.write() as connection:
            await note(connection, act)
        self._copy(act)
