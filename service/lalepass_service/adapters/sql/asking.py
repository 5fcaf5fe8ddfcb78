"""One host of an address, which is asked what it is, again and again."""

import asyncio
import logging
import os
from errno import ECONNREFUSED, ENOENT
from typing import Any, Final

import psycopg

from lalepass_service.adapters.sql.connecting import NO_RANK, connect_to_host, tells_no_rank
from lalepass_service.adapters.sql.postgres import AWAITED, PostgresServer
from lalepass_service.adapters.sql.standing import CLOSED, Answer, Rank, Seen

_log: Final = logging.getLogger(__name__)

_ANEW: Final = 5.0
"""Seconds after which it is connected to again: its name may lead to another server by then."""

_REST: Final = """
    extract(epoch FROM pg_postmaster_start_time()) || ' ' || current_setting('port'),
    (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user
        AND wait_event = 'SyncRep'
        AND clock_timestamp() - query_start > make_interval(secs => {seconds}))
"""
# `CASE`, since either would fail on the other kind of server. What a standby has replayed in full
# is in its control file after its next checkpoint only; what it needs to be consistent, at once.
_ASK: Final = f"""
    SELECT (SELECT system_identifier FROM pg_control_system()), NOT pg_is_in_recovery(),
        CASE WHEN pg_is_in_recovery() THEN greatest(
            (SELECT timeline_id FROM pg_control_checkpoint()),
            (SELECT min_recovery_end_timeline FROM pg_control_recovery())
        ) ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END, {_REST}
"""  # noqa: S608 - constants
_ASK_WITHOUT_RANK: Final = f"SELECT 0, NOT pg_is_in_recovery(), 0, {_REST}"

_NOTHING_LISTENS: Final = tuple(os.strerror(number) for number in (ECONNREFUSED, ENOENT))
"""The second one of a socket that is a file. libpq says it in the words of the system."""


class Host:
    """One of the hosts, and the connection to it. Belongs to one event loop."""

    def __init__(self, server: PostgresServer, number: int) -> None:
        self.number = number
        self._server = server
        self._open: psycopg.AsyncConnection[Any] | None = None
        self._since = 0.0
        self._asking: asyncio.Task[Answer] | None = None
        self._failed = False

    def begin(self) -> "asyncio.Task[Answer]":
        """Ask, unless the last question is still open."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._answer())
        return self._asking

    def heard(self) -> Answer:
        """Return the answer, if there is one."""
        done = self._asking is not None and self._asking.done()
        return self._asking.result() if self._asking is not None and done else None

    def take(self) -> Answer:
        """Return the answer, if there is one, and forget it."""
        answer = self.heard()
        if self._asking is not None and self._asking.done():
            self._asking = None
        return answer

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait((self._asking,))
        await self._leave()

    async def _answer(self) -> Answer:
        """Ask, on a new connection if the old one is of no use."""
        try:
            had_one = self._open is not None
            answer = await self._once()
            answer = await self._once() if had_one and not isinstance(answer, Seen) else answer
        except Exception:  # noqa: BLE001 - a fault of ours is logged, and the watch goes on
            # The other hosts are looked at all the same.
            if not self._failed:
                _log.exception("a database server could not be looked at")
            self._failed = True
            await self._leave()
            return None
        self._failed = False
        return answer

    async def _once(self) -> Answer:
        try:
            async with asyncio.timeout(self._server.timeout):
                return await self._ask(await self._connected())
        except (psycopg.Error, OSError, ValueError, TypeError) as error:
            # also what no server should say
            await self._leave()
            return CLOSED if _is_closed(error) else None
        except asyncio.CancelledError:
            await self._leave()
            raise

    async def _connected(self) -> "psycopg.AsyncConnection[Any]":
        """Return a connection that is not old. An old one is better than none.

        Raises:
            psycopg.Error: there is none.
        """
        now = asyncio.get_running_loop().time()
        old = self._open
        if old is None or now - self._since >= _ANEW:
            try:
                self._open = await connect_to_host(self._server, self.number)
            except psycopg.Error as error:
                if old is None or _is_closed(error):
                    raise
            else:
                if old is not None:
                    await old.close()
            self._since = now
        if self._open is None:
            raise AssertionError
        return self._open

    async def _ask(self, connection: "psycopg.AsyncConnection[Any]") -> Seen:
        seconds = AWAITED * self._server.timeout
        if not self._server.learned.tells_no_rank:
            try:
                cursor = await connection.execute(_ASK.format(seconds=seconds))
                return _seen(await cursor.fetchone())
            except NO_RANK as error:
                tells_no_rank(self._server, error)
        cursor = await connection.execute(_ASK_WITHOUT_RANK.format(seconds=seconds))
        return _seen(await cursor.fetchone())

    async def _leave(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened.close()


def _seen(row: Any) -> Seen:  # noqa: ANN401 - as the driver has it
    system, writes, timeline, server, left = row
    return Seen(rank=Rank(system, timeline), writes=writes, server=server, left=left)


def _is_closed(error: Exception) -> bool:
    """Whether nothing listens there, at any of the addresses that its name has."""
    text = str(error)
    # psycopg has a line for each address, if there are several.
    each = [line for line in text.splitlines() if line.startswith("- host: ")] or [text]
    return all(any(what in line for what in _NOTHING_LISTENS) for line in each)
