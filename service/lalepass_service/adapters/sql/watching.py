"""Looks at all hosts of an address, to know which of them is the primary.

Each is asked on a connection of its own, whatever it is at the moment, and nobody waits for that.
What follows from the answers is in `primaries`.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from lalepass_service.adapters.sql.postgres import (
    AWAITED,
    PostgresServer,
    connect_to_host,
    hosts_of,
)
from lalepass_service.adapters.sql.primaries import NOTHING, Rank, Seen, Standing, judge

_log: Final = logging.getLogger(__name__)

_EVERY: Final = 1.0
"""Seconds between two looks."""
_SOON: Final = 0.2
"""Seconds until the next one, where writes are refused until that is over."""
_PATIENCE: Final = 1.0
"""Seconds after which a look goes without those who have not answered. Those are heard the next
time, if they answer still."""

# `CASE`, since either would fail on the other kind of server. What a standby has replayed in full
# is in its control file after its next checkpoint only; what it needs to be consistent, at once.
_ASK: Final = """
    SELECT (SELECT system_identifier FROM pg_control_system()), NOT pg_is_in_recovery(),
        CASE WHEN pg_is_in_recovery() THEN greatest(
            (SELECT timeline_id FROM pg_control_checkpoint()),
            (SELECT min_recovery_end_timeline FROM pg_control_recovery())
        ) ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,
        extract(epoch FROM pg_postmaster_start_time()) || ' ' || current_setting('port'),
        (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user
            AND wait_event = 'SyncRep'
            AND clock_timestamp() - query_start > make_interval(secs => {seconds}))
"""


class Watch:
    """Keeps `server.primaries` up to date. Belongs to one event loop."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._hosts = [_Host(server, number) for number in range(len(hosts_of(server)))]
        self._doubted = False
        """Whether the last look could not tell which server is the right one."""
        self._told = NOTHING
        server.primaries.watched = True
        server.primaries.limit(server.connections)

    async def run(self) -> None:
        """Look again and again, until this is cancelled."""
        while True:
            primaries = self._server.primaries
            soon = self._doubted or primaries.standing.split or primaries.full
            await asyncio.sleep(_SOON if soon else _EVERY)
            await self.look()

    async def look(self) -> None:
        """Ask each of them, and draw the conclusion."""
        await asyncio.wait([each.begin() for each in self._hosts], timeout=_PATIENCE)
        self.conclude([each.take() for each in self._hosts])

    def conclude(self, answers: Sequence[Seen | None]) -> None:
        """Draw the conclusion. Two looks for a doubt: a server may restart between two answers."""
        primaries = self._server.primaries
        standing = judge(primaries.standing, answers)
        if standing.split and not self._doubted and not primaries.standing.split:
            self._doubted = True
            return
        self._doubted = False
        primaries.standing = standing
        self._tell(standing)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(each.close() for each in self._hosts))

    def _tell(self, standing: Standing) -> None:
        """Tell the operator what is new."""
        if not standing.writing:
            return
        before, self._told = self._told, standing
        limit = self._server.connections
        if standing.split and not before.split:
            _log.error(
                "%d database servers take writes, and nothing tells which is the right one: "
                "nothing is changed until there is one",
                standing.writing,
            )
        elif standing.writing > 1 and (before.writing <= 1 or before.split):
            _log.error(
                "an old primary goes on beside a newer one, and is not believed: end it; "
                "the newer one is %s",
                hosts_of(self._server)[standing.host or 0],
            )
        elif standing.writing == 1 and before.writing > 1:
            _log.warning("there is one database server again that takes writes")
        if standing.left >= limit > before.left:
            _log.error(
                "%d transactions wait for a standby of the database, and nobody waits for them any "
                "more: nothing is written until there are fewer",
                standing.left,
            )
        elif standing.left < limit <= before.left:
            _log.warning("the database is written to again")


class _Host:
    """One of the hosts, and the connection to it."""

    def __init__(self, server: PostgresServer, number: int) -> None:
        self._server = server
        self._number = number
        self._open: psycopg.AsyncConnection[Any] | None = None
        self._asking: asyncio.Task[Seen | None] | None = None
        self._ask = _ASK.format(seconds=AWAITED * server.timeout)

    def begin(self) -> "asyncio.Task[Seen | None]":
        """Ask, unless the last question is still open."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._answer())
        return self._asking

    def take(self) -> Seen | None:
        """Return the answer, if there is one."""
        if self._asking is None or not self._asking.done():
            return None
        asked, self._asking = self._asking, None
        return asked.result()

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait((self._asking,))
        await self._leave()

    async def _answer(self) -> Seen | None:
        """Ask, on a new connection if the old one is of no use."""
        had_one = self._open is not None
        seen = await self._once()
        return await self._once() if seen is None and had_one else seen

    async def _once(self) -> Seen | None:
        try:
            async with asyncio.timeout(self._server.timeout):
                if self._open is None:
                    self._open = await connect_to_host(self._server, self._number)
                row = await (await self._open.execute(self._ask)).fetchone()
            return _seen(row)
        except (psycopg.Error, OSError, ValueError, TypeError):
            # also what no server should say
            await self._leave()
            return None
        except asyncio.CancelledError:
            await self._leave()
            raise

    async def _leave(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened.close()


def _seen(row: Any) -> Seen:  # noqa: ANN401 - as the driver has it
    system, writes, timeline, server, left = row
    return Seen(rank=Rank(system, timeline), writes=writes, server=server, left=left)
