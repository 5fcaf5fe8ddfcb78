"""How far standbys are behind their primary, for who watches over them.

Checks find that out for each read (`fence`), and only while there are any. This looks now and then.
"""

import asyncio
import math
from typing import Final

import psycopg

from lalepass_service.adapters.sql.connecting import connect_async
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.core.errors import StoreUnavailable

_PAUSE_SECONDS: Final = 15.0
_WRITTEN: Final = b"SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint"
_REPLAYED: Final = b"SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint"


class Lag:
    """Looks at the primary and at one of its standbys, on connections of its own."""

    def __init__(self, *, of: PostgresServer, standbys: PostgresServer) -> None:
        self._of = of
        self._standbys = standbys
        self._behind = math.nan

    @property
    def behind(self) -> float:
        """Bytes of the primary's log that a standby had not replayed; NaN if it is not known."""
        return self._behind

    async def follow(self, *, pause: float = _PAUSE_SECONDS) -> None:
        """Look for ever."""
        while True:
            self._behind = await self.look()
            await asyncio.sleep(pause)

    async def look(self) -> float:
        """Return how far the standby is behind what the primary had a moment before; or NaN."""
        # Each may take as long as a connection and a statement may, with several hosts to try.
        seconds = 4 * self._of.timeout
        try:
            async with asyncio.timeout(seconds):
                written = await _number(self._of, _WRITTEN)
                replayed = await _number(self._standbys, _REPLAYED)
        except (psycopg.Error, OSError, StoreUnavailable):
            return math.nan
        return max(0.0, written - replayed)


async def _number(server: PostgresServer, query: bytes) -> float:
    connection = await connect_async(server)
    try:
        row = await (await connection.execute(query)).fetchone()
    finally:
        await connection.close()
    # Null where it has replayed nothing yet, or is a primary.
    return math.nan if row is None or row[0] is None else float(row[0])
