"""The trail in the database: checks are written in batches, behind the answer they are about."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Final

from lalepass_service.adapters.sql.acts import Copy, no_copy
from lalepass_service.adapters.sql.audit_reading import COLUMNS, STRETCH, Found, pages
from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.retention import delete_old
from lalepass_service.adapters.sql.session import Session, text_of
from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.turned_away import TurnedAway

_log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.5
"""How long an entry may wait to be written: what a sudden death of the process can take with it."""

_MAX_WAITING: Final = 20_000
"""While the database is away. Beyond that the oldest are lost, and counted."""

_BATCH: Final = 500

INSERT: Final = f"INSERT INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - a constant


def row_of(entry: Entry) -> tuple[str | None, ...]:
    """Return an entry as `INSERT` takes it."""
    return (
        text_of(entry.at),
        entry.event,
        entry.outcome,
        entry.actor,
        entry.user_id,
        entry.localpart,
        entry.source_ip,
        entry.user_agent,
        entry.request_id,
        json.dumps(dict(entry.details), sort_keys=True) if entry.details else None,
    )


class SqlTrail:
    """Implements `core.ports.Trail`, and reads what it has written."""

    def __init__(
        self,
        hot: Hot,
        *,
        copy: Copy = no_copy,
        stretch: int = STRETCH,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        """Make a trail.

        Args:
            hot: where it is written.
            copy: gets every entry at once, such as a log of JSON lines.
            stretch: how many entries a statement may look at.
            seconds: the time, for what is counted by the minute.
        """
        self._hot = hot
        self._copy = copy
        self._stretch = stretch
        self._turned_away = TurnedAway(seconds=seconds)
        self._waiting: deque[Entry] = deque()
        self.lost = 0
        """Entries that could not be written, since the start."""

    @property
    def waiting(self) -> int:
        """Entries that are not written yet."""
        return len(self._waiting)

    def record(self, entry: Entry) -> None:
        """Take an entry. It is written within half a second; nobody waits for it.

        Of checks that were turned away some are counted, and written together within a minute.
        """
        if self._turned_away.take(entry):
            self._put(entry)

    def _put(self, entry: Entry) -> None:
        self._copy(entry)
        if len(self._waiting) >= _MAX_WAITING:
            self._waiting.popleft()
            if not self.lost:
                _log.error("the trail can't be written, and its oldest entries are being lost")
            self.lost += 1
        self._waiting.append(entry)

    async def run(self) -> None:
        """Write what comes, until this is cancelled. Then write what is left."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self._try_to_flush()
        finally:
            for entry in self._turned_away.rest():
                self._put(entry)
            await self._try_to_flush()
            if self._waiting:
                self.lost += len(self._waiting)
                _log.error("%d entries of the trail could not be written", len(self._waiting))

    async def _try_to_flush(self) -> None:
        try:
            await self.flush()
        except StoreUnavailable:
            _log.warning("the trail can't be written now: %d entries wait", len(self._waiting))
        except Exception:  # noqa: BLE001 - whatever it is, the next half second may be better
            _log.exception("the trail can't be written")

    async def flush(self) -> None:
        """Write all that waits. What can't be written whatever the database does is left out.

        Raises:
            StoreUnavailable: it could not be written, and goes on waiting.
        """
        for entry in self._turned_away.due():
            self._put(entry)
        while self._waiting:
            await self._write([self._waiting.popleft() for _ in range(self._next_batch())])

    def _next_batch(self) -> int:
        return min(_BATCH, len(self._waiting))

    async def _write(self, batch: list[Entry]) -> None:
        """Write a batch, and halve it as often as it takes to find what it fails for."""
        parts = deque([batch])
        left_out: list[str] = []
        try:
            while parts:
                part = parts[0]
                fault = await self._fault_of(part)
                parts.popleft()
                if fault is None:
                    continue
                if len(part) == 1:
                    left_out.append(type(fault).__name__)
                else:
                    half = len(part) // 2
                    parts.extendleft((part[half:], part[:half]))
        except BaseException:
            # Twice is better than not at all: it may have been written in spite of this.
            self._waiting.extendleft(reversed([entry for part in parts for entry in part]))
            raise
        finally:
            if left_out:
                self.lost += len(left_out)
                # No text of the faults: it repeats what could not be written.
                kinds = ", ".join(sorted(set(left_out)))
                _log.error("the trail can't take %d of its entries (%s)", len(left_out), kinds)

    async def _fault_of(self, part: list[Entry]) -> Exception | None:
        """Write these. Returns what is wrong with one of them, if that is why it failed.

        Raises:
            StoreUnavailable: they could not be written, and may be later.
        """
        try:
            rows = [row_of(entry) for entry in part]
            await self._hot.write(partial(_insert, rows=rows))
        except Exception as fault:
            if _is_of_the_data(fault):
                return fault
            raise
        return None

    async def entries(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        newest: bool = False,
        conditions: Mapping[str, str] = MappingProxyType({}),
    ) -> Found:
        """Read entries with their numbers, in the order in which they were written.

        Args:
            after: only those behind this number.
            limit: at most so many.
            newest: the last ones instead of the first ones.
            conditions: values of `localpart`, `event`, `outcome` or `actor`, and `since` and
                `until` as times.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        found: Found = []
        reading = self._pages(conditions, after=after, newest=newest)
        async with aclosing(reading):
            async for page in reading:
                found += page
                if len(found) >= limit:
                    break
        return found[:limit][::-1] if newest else found[:limit]

    async def pages(self, *, conditions: Mapping[str, str]) -> AsyncGenerator[Found]:
        """Go through all that is there now, the oldest first. For `conditions` see `entries`.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        async with aclosing(self._pages(conditions, after=0, newest=False)) as reading:
            async for page in reading:
                yield page

    def _pages(
        self, conditions: Mapping[str, str], *, after: int, newest: bool
    ) -> AsyncGenerator[Found]:
        return pages(
            self._hot,
            conditions=conditions,
            after=after,
            newest=newest,
            stretch=self._stretch,
        )

    async def forget(self, *, before: datetime) -> int:
        """Delete entries from before this time. Returns how many.

        Raises:
            StoreUnavailable: the database did not answer. Some may be deleted already.
        """
        old = (text_of(before),)
        return await delete_old(self._hot, "audit", key="id", condition="at < ?", values=old)


def _insert(session: Session, *, rows: Iterable[tuple[str | None, ...]]) -> None:
    session.run_many(INSERT, rows)


def _is_of_the_data(fault: Exception) -> bool:
    """Say whether something can't be written as it is, whoever tries and however often.

    Text that has no bytes, or a number that is too large: drivers say so by an error of Python's,
    or by their DataError (PEP 249), which the way to the database hands on as a cause.
    """
    if isinstance(fault, StoreUnavailable):
        return any(kind.__name__ == "DataError" for kind in type(fault.__cause__).__mro__)
    return isinstance(fault, ValueError | TypeError | OverflowError)
