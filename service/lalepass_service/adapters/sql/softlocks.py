"""Lanes in the database.

Each step is one transaction on the hot path: atomic across processes, so that what `core.softlock`
decides is decided on what is really there.
"""

import sqlite3
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from lalepass_service.adapters.sql.acts import Copy, no_copy
from lalepass_service.adapters.sql.audit import INSERT, row_of
from lalepass_service.adapters.sql.hot import HotPath
from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import Throttled
from lalepass_service.core.model import UserId
from lalepass_service.core.softlock import (
    FRESH,
    GUESS_BYTES,
    KNOWN_FOR,
    Bid,
    Debited,
    Lane,
    Repeated,
    Ticket,
    Wait,
    charge,
    debit,
    give_back,
)

_SEEN_AGAIN: Final = timedelta(days=1)
"""A source is written down anew at most this often: most logins come from where the last came."""

_EVERYBODY: Final = b""

_KNOWN: Final = "SELECT seen_at FROM known_sources WHERE user_id = ? AND source = ?"
_KNOW: Final = """
    INSERT INTO known_sources (user_id, source, seen_at) SELECT id, ?, ? FROM users WHERE id = ?
    ON CONFLICT (user_id, source) DO UPDATE SET seen_at = excluded.seen_at
"""
_LANE: Final = "SELECT failures, not_before, ring FROM lanes WHERE account = ? AND lane = ?"
_LANES: Final = "SELECT failures, not_before, ring FROM lanes WHERE account = ? ORDER BY lane"
_STORE: Final = """
    INSERT INTO lanes (account, lane, failures, not_before, ring, changed_at)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (account, lane) DO UPDATE SET failures = excluded.failures,
        not_before = excluded.not_before, ring = excluded.ring, changed_at = excluded.changed_at
"""
_FORGET: Final = "DELETE FROM lanes WHERE account = ? AND lane = ?"
_FORGET_ALL: Final = "DELETE FROM lanes WHERE account = ?"
_FORGET_SOURCES: Final = "DELETE FROM known_sources WHERE user_id = ?"
_SWEEP_LANES: Final = """
    DELETE FROM lanes WHERE changed_at < ?
    AND (lane != ? OR account NOT IN (SELECT id FROM users))
"""
_SWEEP_SOURCES: Final = "DELETE FROM known_sources WHERE seen_at < ?"


class SqlSoftLocks:
    """Implements `core.ports.SoftLocks`."""

    def __init__(self, hot: HotPath, *, copy: Copy = no_copy) -> None:
        self._hot = hot
        self._copy = copy

    async def debit(self, account: str, *, source: bytes, guess: bytes, now: datetime) -> Ticket:
        """Pay for a guess before it is made.

        Raises:
            Throttled: the lane has to wait, or is closed.
            StoreUnavailable: it could not be paid for.
        """
        decided = await self.pay(Bid(account=account, guess=guess, source=source), now=now)
        if isinstance(decided, Wait):
            raise Throttled(retry_after=decided.seconds)
        return decided

    async def pay(self, bid: Bid, *, now: datetime) -> Ticket | Wait:
        """Pay for a guess, if it may be made: see `adapters.entrance`.

        Raises:
            StoreUnavailable: it could not be paid for.
        """
        return await self._hot.write(partial(pay, bid=bid, now=now))

    def settle(self, ticket: Ticket, *, user_id: UserId, now: datetime) -> None:
        """The guess was right: begin anew in its lane, and know its source from now on.

        Nobody waits for it: see the port, and `HotPath.post`.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_FORGET, (ticket.account, ticket.lane))
            if ticket.source and not _seen_lately(connection, user_id, ticket.source, now):
                connection.execute(_KNOW, (ticket.source, _text(now), user_id))

        self._hot.post(work)

    async def give_back(self, ticket: Ticket, *, now: datetime) -> None:
        """The guess could not be verified: undo the debit."""
        if not ticket.paid:
            return

        def work(connection: sqlite3.Connection) -> None:
            lane = _read(connection, ticket.account, ticket.lane)
            _store(
                connection, ticket.account, ticket.lane, give_back(lane, guess=ticket.guess), now
            )

        await self._hot.write(work)

    async def charge(self, ticket: Ticket, *, now: datetime) -> None:
        """A repeated guess was wrong: debit it now if nobody's debit stands for it any more."""

        def work(connection: sqlite3.Connection) -> None:
            lane = _read(connection, ticket.account, ticket.lane)
            charged = charge(lane, guess=ticket.guess, now=now)
            if charged != lane:
                _store(connection, ticket.account, ticket.lane, charged, now)

        await self._hot.write(work)

    async def lanes(self, account: str) -> tuple[Lane, ...]:
        """Return what is remembered of wrong passwords, for every lane that has any."""

        def work(connection: sqlite3.Connection) -> tuple[Lane, ...]:
            return tuple(_lane(*row) for row in connection.execute(_LANES, (account,)))

        # It writes nothing, but what was posted comes before a write only.
        return await self._hot.write(work)

    async def unlock(self, account: str, *, act: Entry | None) -> bool:
        """Forget all wrong passwords. Returns False if there were none."""

        def work(connection: sqlite3.Connection) -> bool:
            locked = connection.execute(_FORGET_ALL, (account,)).rowcount > 0
            if locked and act is not None:
                connection.execute(INSERT, row_of(act))
            return locked

        unlocked = await self._hot.write(work)
        if unlocked and act is not None:
            self._copy(act)
        return unlocked

    async def forget(self, account: str) -> None:
        """Forget wrong passwords and known sources, as the change of a password has done before."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_FORGET_ALL, (account,))
            connection.execute(_FORGET_SOURCES, (account,))

        await self._hot.write(work)

    async def sweep(self, *, before: datetime) -> int:
        """Forget sources and their lanes, and names that nobody has, unless used since."""

        def work(connection: sqlite3.Connection) -> int:
            lanes = connection.execute(_SWEEP_LANES, (_text(before), _EVERYBODY)).rowcount
            return lanes + connection.execute(_SWEEP_SOURCES, (_text(before),)).rowcount

        return await self._hot.write(work)


def pay(connection: sqlite3.Connection, bid: Bid, now: datetime) -> Ticket | Wait:
    """Pay for a guess, if it may be made. Inside a transaction that writes."""
    account, source, guess = bid.account, bid.source, bid.guess
    lane = source if _is_known(connection, account, source, now) else _EVERYBODY
    decision = debit(_read(connection, account, lane), guess=guess, now=now)
    if isinstance(decision, Wait):
        return decision
    if isinstance(decision, Debited):
        _store(connection, account, lane, decision.lane, now)
    paid = not isinstance(decision, Repeated)
    return Ticket(account=account, lane=lane, guess=guess, source=source, paid=paid)


def _is_known(connection: sqlite3.Connection, account: str, source: bytes, now: datetime) -> bool:
    """Whether somebody entered this account from there lately."""
    seen_at = _seen_at(connection, account, source)
    # Not from the future, either: the clock may have been wrong when it was written down.
    return seen_at is not None and -_SEEN_AGAIN < now - seen_at < KNOWN_FOR


def _seen_lately(
    connection: sqlite3.Connection, account: str, source: bytes, now: datetime
) -> bool:
    seen_at = _seen_at(connection, account, source)
    return seen_at is not None and abs(now - seen_at) < _SEEN_AGAIN


def _seen_at(connection: sqlite3.Connection, account: str, source: bytes) -> datetime | None:
    if not source:
        return None
    row = connection.execute(_KNOWN, (account, source)).fetchone()
    return None if row is None else datetime.fromisoformat(row[0])


def _read(connection: sqlite3.Connection, account: str, lane: bytes) -> Lane:
    row = connection.execute(_LANE, (account, lane)).fetchone()
    return FRESH if row is None else _lane(*row)


def _lane(failures: int, not_before: str | None, ring: bytes) -> Lane:
    return Lane(
        failures=failures,
        not_before=None if not_before is None else datetime.fromisoformat(not_before),
        ring=tuple(ring[start : start + GUESS_BYTES] for start in range(0, len(ring), GUESS_BYTES)),
    )


def _store(
    connection: sqlite3.Connection, account: str, lane: bytes, state: Lane, now: datetime
) -> None:
    not_before = None if state.not_before is None else _text(state.not_before)
    row = (account, lane, state.failures, not_before, b"".join(state.ring), _text(now))
    connection.execute(_STORE, row)


def _text(moment: datetime) -> str:
    """Return a time as `tables.Instant` writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
