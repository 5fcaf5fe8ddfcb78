"""Lanes in the database.

Each change is one statement that does nothing unless the lane is as it was read: atomic across
processes, so that what `core.softlock` decides is decided on what is really there.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from lalepass_service.adapters.sql.acts import Copy, no_copy
from lalepass_service.adapters.sql.audit import INSERT, row_of
from lalepass_service.adapters.sql.forgetting import forget_lanes
from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.retention import delete_old
from lalepass_service.adapters.sql.session import Either, Session, instant, text_of
from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import A_MOMENT, UserId
from lalepass_service.core.softlock import (
    FRESH,
    GUESS_BYTES,
    KNOWN_FOR,
    NAMES_KEPT,
    SEEN_AGAIN,
    Bid,
    Debited,
    Lane,
    Ticket,
    Wait,
    as_by_the_rule,
    charge,
    debit,
    give_back,
)

_EVERYBODY: Final = b""

_ATTEMPTS: Final = 64
"""How often others may be quicker. Each time one of them has got on, so that many do."""

# The source of the account, or the next one that anybody has, and of the lanes the one that counts:
# so that who comes from a place that is known there costs no more reads than anybody else. What is
# read of the next one says nothing. Of lanes there is none to read instead: they come and go with
# each guess, and on PostgreSQL the way to the next leads past all that have gone.
_READ: Final = """
    SELECT k.known, k.seen_at, l.failures, l.not_before, l.ring FROM (SELECT 1 AS one) AS here
    LEFT JOIN (
        SELECT seen_at, user_id = ?1 AND source = ?2 AND seen_at > ?4 AND seen_at < ?5 AS known
        FROM known_sources WHERE (user_id, source) >= (?1, ?2) ORDER BY user_id, source LIMIT 1
    ) AS k ON TRUE
    LEFT JOIN lanes AS l ON l.account = ?1 AND l.lane = CASE WHEN k.known THEN ?2 ELSE ?3 END
"""
_LANE: Final = "SELECT failures, not_before, ring FROM lanes WHERE account = ? AND lane = ?"
_LANES: Final = "SELECT failures, not_before, ring FROM lanes WHERE account = ? ORDER BY lane"
_BEGIN: Final = """
    INSERT INTO lanes (account, lane, failures, not_before, ring, changed_at)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account, lane) DO NOTHING
"""
_SWAP: Final = """
    UPDATE lanes SET failures = ?, not_before = ?, ring = ?, changed_at = ?
    WHERE account = ? AND lane = ? AND failures = ? AND ring = ? AND not_before """
_SWAP_IF_SAME: Final = Either(
    sqlite=_SWAP + "IS ?",
    postgresql=_SWAP + "IS NOT DISTINCT FROM ?",
)
# Who was seen lately is found by reading: PostgreSQL would lock the row to find that there is
# nothing to do, which is a write like any other.
_KNOW: Final = """
    INSERT INTO known_sources (user_id, source, seen_at) SELECT {2}, ?1, {0} FROM {1} WHERE {2} = ?3
    AND NOT EXISTS (SELECT 1 FROM known_sources AS known WHERE known.user_id = ?3
        AND known.source = ?1 AND known.seen_at > ?4 AND known.seen_at < ?5) {3}
    ON CONFLICT (user_id, source) DO UPDATE SET seen_at = excluded.seen_at
    WHERE known_sources.seen_at <= ?4 OR known_sources.seen_at >= ?5
"""
_KNOW_FROM_NOW: Final = Either(
    sqlite=_KNOW.format("?2", "users", "id", ""),
    postgresql=_KNOW.format("CAST(?2 AS timestamptz)", "users", "id", ""),
)
# The row is locked, or a new password that is just being set would not be seen, and what is
# inserted not by who forgets all sources with it (`changes.put_password` comes first there).
_KNOW_BY_THIS_PASSWORD: Final = Either(
    sqlite=_KNOW.format("?2", "passwords", "user_id", "AND changed_at = ?6"),
    postgresql=_KNOW.format(
        "CAST(?2 AS timestamptz)", "passwords", "user_id", "AND changed_at = ?6 FOR SHARE"
    ),
)
_UNLOCKED: Final = "SELECT unlocked_at FROM users WHERE id = ?"
_UNLOCK: Final = "UPDATE users SET unlocked_at = ? WHERE id = ?"
_FORGET: Final = "DELETE FROM lanes WHERE account = ? AND lane = ?"
_FORGET_ALL: Final = "DELETE FROM lanes WHERE account = ?"
_FORGET_SOURCES: Final = "DELETE FROM known_sources WHERE user_id = ?"


class SqlSoftLocks:
    """Implements `core.ports.SoftLocks`."""

    def __init__(self, hot: Hot, *, copy: Copy = no_copy, names_kept: int = NAMES_KEPT) -> None:
        self._hot = hot
        self._copy = copy
        self._names_kept = names_kept

    async def pay(self, bid: Bid, *, now: datetime) -> Ticket | Wait:
        """Pay for a guess before it is made, if it may be made.

        Raises:
            StoreUnavailable: it could not be paid for.
        """
        return await self._hot.step(partial(pay, bid=bid, now=now), key=bid.account)

    def settle(self, ticket: Ticket, *, user_id: UserId, now: datetime) -> None:
        """The guess was right: begin anew in its lane, and know its source from now on.

        Nobody waits for it: see the port, and `Hot.post`.
        """

        def work(session: Session) -> None:
            session.run(_FORGET, (ticket.account, ticket.lane))
            if ticket.source:
                lately = (text_of(now - SEEN_AGAIN), text_of(now + SEEN_AGAIN))
                values = (ticket.source, text_of(now), user_id, *lately)
                if ticket.since is None:
                    session.run(_KNOW_FROM_NOW, values)
                else:
                    # It was right until somebody set another one, who may have been robbed.
                    session.run(_KNOW_BY_THIS_PASSWORD, (*values, text_of(ticket.since)))

        self._hot.post(work, key=ticket.account)

    async def give_back(self, ticket: Ticket, *, now: datetime) -> None:
        """The guess could not be verified: undo the debit."""
        if ticket.paid:
            await self._change(ticket, partial(give_back, guess=ticket.guess), now)

    async def charge(self, ticket: Ticket, *, now: datetime) -> None:
        """A repeated guess was wrong: debit it now if nobody's debit stands for it any more."""
        await self._change(ticket, partial(charge, guess=ticket.guess, now=now), now)

    async def _change(self, ticket: Ticket, change: Callable[[Lane], Lane], now: datetime) -> None:
        """Change a lane.

        Raises:
            StoreUnavailable: that did not succeed.
        """

        def work(session: Session) -> None:
            for _ in range(_ATTEMPTS):
                row = session.run(_LANE, (ticket.account, ticket.lane)).fetchone()
                before = None if row is None else _lane(*row)
                after = change(before or FRESH)
                if after == (before or FRESH) or _swap(
                    session, ticket.account, ticket.lane, before, after, now
                ):
                    return
            raise StoreUnavailable

        await self._hot.step(work, key=ticket.account)

    async def lanes(
        self, account: str, *, since: datetime | None = None, unlocked: datetime | None = None
    ) -> tuple[Lane, ...]:
        """Return what is remembered of wrong passwords, for every lane that has any."""
        del since, unlocked  # what they void was deleted with them

        def work(session: Session) -> tuple[Lane, ...]:
            return tuple(_lane(*row) for row in session.run(_LANES, (account,)))

        # It writes nothing, but what was posted comes before a step only.
        return await self._hot.step(work, key=account)

    async def unlock(
        self, account: str, *, act: Entry | None, now: datetime, unlocked: datetime | None = None
    ) -> bool:
        """Forget all wrong passwords. Returns False if there were none."""
        del unlocked
        found: list[bool] = []

        def work(session: Session) -> bool:
            locked = session.run(_FORGET_ALL, (account,)).rowcount > 0
            if locked:
                _unlock(session, account, now)
            if locked and act is not None:
                session.run(INSERT, row_of(act))
            found.append(locked)
            # Done again after an answer that was lost, it finds what it has unlocked itself.
            return any(found)

        done = await self._hot.write(work)
        if done and act is not None:
            self._copy(act)
        return done

    async def note_unlock(
        self, account: str, *, act: Entry | None, now: datetime
    ) -> datetime | None:
        """Write down that an account is unlocked, for lanes that are kept in another store.

        Returns from when on; None if nobody has the account (any more).

        Raises:
            StoreUnavailable: it could not be written.
        """

        def work(session: Session) -> datetime | None:
            session.run(_FORGET_ALL, (account,))
            at = _unlock(session, account, now)
            if at is not None and act is not None:
                session.run(INSERT, row_of(act))
            return at

        at = await self._hot.write(work)
        if at is not None and act is not None:
            self._copy(act)
        return at

    async def forget(self, account: str) -> None:
        """Forget wrong passwords and known sources, as the change of a password has done before."""

        def work(session: Session) -> None:
            session.run(_FORGET_ALL, (account,))
            session.run(_FORGET_SOURCES, (account,))

        await self._hot.write(work)

    async def sweep(self, *, before: datetime) -> int:
        """Forget sources and their lanes, unless used since, and names that are too many."""
        lanes = await forget_lanes(self._hot, before=before, names_kept=self._names_kept)
        return lanes + await delete_old(
            self._hot,
            "known_sources",
            key="user_id, source",
            condition="seen_at < ?",
            values=(text_of(before),),
        )


def pay(session: Session, bid: Bid, now: datetime) -> Ticket | Wait:
    """Pay for a guess, if it may be made.

    What was decided is written only if the lane still is as it was read. In a transaction on SQLite
    it always is; elsewhere another process may have been quicker, and then it is decided anew.

    Raises:
        StoreUnavailable: others were quicker again and again.
    """
    for _ in range(_ATTEMPTS):
        lane, before = _read(session, bid, now)
        there = as_by_the_rule(before or FRESH, now=now)
        decision = debit(there, guess=bid.guess, now=now)
        if isinstance(decision, Wait):
            as_it_was = before is None or there == before
            if as_it_was or _swap(session, bid.account, lane, before, there, now):
                return decision
            continue
        if not isinstance(decision, Debited):
            return bid.ticket(lane=lane, paid=False)
        if _swap(session, bid.account, lane, before, decision.lane, now):
            return bid.ticket(lane=lane, paid=True)
    raise StoreUnavailable


def _unlock(session: Session, account: str, now: datetime) -> datetime | None:
    """Write down from when on wrong passwords count; None if there is no such account.

    Each time later than the last, whatever the clock says: or the older of two would be in force.
    """
    row = session.run(_UNLOCKED, (account,)).fetchone()
    if row is None:
        return None
    at = now if row[0] is None else max(now, instant(row[0]) + A_MOMENT)
    session.run(_UNLOCK, (text_of(at), account))
    return at


def _read(session: Session, bid: Bid, now: datetime) -> tuple[bytes, Lane | None]:
    """Return in which lane the guess is made, and what is remembered of it."""
    # Not in the future, either: the clock may have been wrong when it was written down.
    lately = (text_of(now - KNOWN_FOR), text_of(now + SEEN_AGAIN))
    values = (bid.account, bid.source, _EVERYBODY, *lately)
    known, _, *cells = session.run(_READ, values).fetchone()
    lane = bid.source if known else _EVERYBODY
    return lane, None if cells[0] is None else _lane(*cells)


def _lane(failures: int, not_before: str | datetime | None, ring: bytes) -> Lane:
    return Lane(
        failures=failures,
        not_before=None if not_before is None else instant(not_before),
        ring=tuple(ring[start : start + GUESS_BYTES] for start in range(0, len(ring), GUESS_BYTES)),
    )


def _swap(
    session: Session, account: str, name: bytes, before: Lane | None, after: Lane, now: datetime
) -> bool:
    """Write a lane in the place of what was read. Returns False if that is not there any more."""
    if before is None:
        return session.run(_BEGIN, (account, name, *_cells(after), text_of(now))).rowcount > 0
    failures, not_before, ring = _cells(before)
    same = (account, name, failures, ring, not_before)
    return session.run(_SWAP_IF_SAME, (*_cells(after), text_of(now), *same)).rowcount > 0


def _cells(lane: Lane) -> tuple[int, str | None, bytes]:
    not_before = None if lane.not_before is None else text_of(lane.not_before)
    return lane.failures, not_before, b"".join(lane.ring)
