"""Orders to sign out in the database, as callers see and acknowledge them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.retention import delete_old
from lalepass_service.adapters.sql.session import Session, instant, text_of
from lalepass_service.core.changes import SignOutOrder
from lalepass_service.core.model import UserId

_MARK: Final = "SELECT coalesce((SELECT seq FROM order_marks WHERE caller = ?), 0)"
# From the mark on only: what is behind it was acknowledged long ago, and is most of the table.
_PENDING: Final = """
    SELECT seq, id, user_id, localpart, ordered_at FROM sign_outs AS o
    WHERE seq > ?1 AND NOT EXISTS (
        SELECT 1 FROM acknowledged AS a WHERE a.caller = ?2 AND a.order_id = o.id
    ) ORDER BY seq LIMIT ?3
"""
_ACKNOWLEDGE: Final = """
    INSERT INTO acknowledged (caller, order_id) SELECT ?, id FROM sign_outs WHERE id = ?
    ON CONFLICT DO NOTHING
"""
_LAST: Final = "SELECT coalesce(max(seq), 0) FROM sign_outs"
_MOVE: Final = """
    INSERT INTO order_marks (caller, seq) VALUES (?, ?)
    ON CONFLICT (caller) DO UPDATE SET seq = excluded.seq
"""
_TIDY: Final = """
    DELETE FROM acknowledged
    WHERE caller = ? AND order_id IN (SELECT id FROM sign_outs WHERE seq > ? AND seq <= ?)
"""


class SqlSignOutOrders:
    """Implements `core.changes.SignOutOrders`."""

    def __init__(self, *, lane: Hot, hot: Hot) -> None:
        """Make the store.

        Args:
            lane: what followers read with.
            hot: where it is written: with the checks, whose connection then need not wait.
        """
        self._lane = lane
        self._hot = hot

    async def pending(self, caller: str, *, after: int = 0, limit: int) -> tuple[SignOutOrder, ...]:
        """Return up to `limit` orders that this caller has not acknowledged, the oldest first."""

        def work(session: Session) -> tuple[SignOutOrder, ...]:
            begin = max(after, _mark(session, caller))
            rows = session.run(_PENDING, (begin, caller, limit))
            return tuple(_order(*row) for row in rows)

        return await self._lane.read(work)

    async def acknowledge(self, ids: Sequence[str], *, caller: str) -> None:
        """Don't show these orders to this caller again. Ids that nobody knows are left out."""

        def work(session: Session) -> None:
            session.run_many(_ACKNOWLEDGE, [(caller, each) for each in ids])
            _move_mark(session, caller)

        await self._hot.write(work)

    async def sweep(self, *, before: datetime) -> int:
        """Forget orders from before this time, done or not. Returns how many."""
        old = (text_of(before),)
        return await delete_old(
            self._hot, "sign_outs", key="seq", condition="ordered_at < ?", values=old
        )


def _move_mark(session: Session, caller: str) -> None:
    """Move the mark of a caller up to its first order that is not done, or to the end."""
    old = _mark(session, caller)
    first = session.run(_PENDING, (old, caller, 1)).fetchone()
    new = first[0] - 1 if first else session.run(_LAST).fetchone()[0]
    if new > old:
        session.run(_MOVE, (caller, new))
        session.run(_TIDY, (caller, old, new))


def _mark(session: Session, caller: str) -> int:
    return int(session.run(_MARK, (caller,)).fetchone()[0])


def _order(seq: int, order_id: str, user_id: str, localpart: str, at: str) -> SignOutOrder:
    return SignOutOrder(
        seq=seq,
        id=order_id,
        user_id=UserId(user_id),
        localpart=localpart,
        ordered_at=instant(at),
    )
