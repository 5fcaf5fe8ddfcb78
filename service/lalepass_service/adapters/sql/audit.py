"""The trail in the database: checks are written in batches, behind the answer they are about."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from lalepass_service.adapters.sql.acts import Copy, no_copy
from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.retention import delete_old
from lalepass_service.adapters.sql.session import Session, instant, text_of
from lalepass_service.core.audit import Entry, Event
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import UserId

_log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.5
"""How long an entry may wait to be written: what a sudden death of the process can take with it."""

_MAX_WAITING: Final = 20_000
"""While the database is away. Beyond that the oldest are lost, and counted."""

_BATCH: Final = 500

_COLUMNS: Final = (
    "at, event, outcome, actor, user_id, localpart, source_ip, user_agent, request_id, details"
)
INSERT: Final = f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - a constant


_EVENTS: Final[Mapping[str, Event]] = {event.value: event for event in Event}


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

    def __init__(self, hot: Hot, *, copy: Copy = no_copy) -> None:
        """Make a trail.

        Args:
            hot: where it is written.
            copy: gets every entry at once, such as a log of JSON lines.
        """
        self._hot = hot
        self._copy = copy
        self._waiting: deque[Entry] = deque()
        self.lost = 0
        """Entries that could not be written, since the start."""

    @property
    def waiting(self) -> int:
        """Entries that are not written yet."""
        return len(self._waiting)

    def record(self, entry: Entry) -> None:
        """Take an entry. It is written within half a second; nobody waits for it."""
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
        """Write all that waits.

        Raises:
            StoreUnavailable: it could not be written, and goes on waiting.
        """
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            rows = [row_of(entry) for entry in batch]
            try:
                await self._hot.write(partial(_insert, rows=rows))
            except BaseException:
                # Twice is better than not at all: it may have been written in spite of this.
                self._waiting.extendleft(reversed(batch))
                raise

    async def entries(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        newest: bool = False,
        conditions: Mapping[str, str] = MappingProxyType({}),
    ) -> list[tuple[int, Entry]]:
        """Read entries with their numbers, in the order in which they were written.

        Args:
            after: only those behind this number.
            limit: at most so many.
            newest: the last ones instead of the first ones.
            conditions: values of `localpart`, `event`, `outcome` or `actor`, and `since` and
                `until` as times.
        """
        return await self._hot.read(
            partial(_select, after=after, limit=limit, newest=newest, conditions=conditions)
        )

    async def forget(self, *, before: datetime) -> int:
        """Delete entries from before this time. Returns how many.

        Raises:
            StoreUnavailable: the database did not answer. Some may be deleted already.
        """
        old = (text_of(before),)
        return await delete_old(self._hot, "audit", key="id", condition="at < ?", values=old)


_CONDITIONS: Final[Mapping[str, str]] = {
    "localpart": "localpart = ?",
    "event": "event = ?",
    "outcome": "outcome = ?",
    "actor": "actor = ?",
    "since": "at >= ?",
    "until": "at < ?",
}


def _insert(session: Session, *, rows: Iterable[tuple[str | None, ...]]) -> None:
    session.run_many(INSERT, rows)


def _select(
    session: Session,
    *,
    after: int,
    limit: int,
    newest: bool,
    conditions: Mapping[str, str],
) -> list[tuple[int, Entry]]:
    where = " AND ".join(["id > ?", *(_CONDITIONS[name] for name in conditions)])
    order = "DESC" if newest else "ASC"
    query = f"SELECT id, {_COLUMNS} FROM audit WHERE {where} ORDER BY id {order} LIMIT ?"  # noqa: S608 - of constants
    found = session.run(query, (after, *conditions.values(), limit)).fetchall()
    return [_entry(row) for row in (reversed(found) if newest else found)]


def _entry(row: tuple[Any, ...]) -> tuple[int, Entry]:
    number, at, event, outcome, actor, user_id, *rest = row
    localpart, source_ip, user_agent, request_id, details = rest
    entry = Entry(
        at=instant(at),
        event=_EVENTS.get(event, event),
        outcome=outcome,
        actor=actor,
        user_id=None if user_id is None else UserId(user_id),
        localpart=localpart,
        source_ip=source_ip,
        user_agent=user_agent,
        request_id=request_id,
        details=json.loads(details) if details else {},
    )
    return number, entry
