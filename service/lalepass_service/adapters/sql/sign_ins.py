"""Sign-ins in the database. A batch is a short transaction on the way of the checks.

There it goes into one commit with what they write. On a connection of its own it would hold the
write lock while they wait for it, and SQLite's waiting is not fair.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.retention import delete_old
from lalepass_service.adapters.sql.session import Session, instant, text_of
from lalepass_service.core.model import UserId
from lalepass_service.core.sign_ins import KEEP_PER_ACCOUNT, Report, SignIn

_USER: Final = "SELECT id FROM users WHERE localpart = ?"
_KNOWN: Final = "SELECT 1 FROM sign_ins WHERE in_id = ?1 OR out_id = ?1"
_OWN: Final = "user_id = ? AND caller = ? AND device_id = ?"
# the end came first
_ENDED: Final = f"""
    UPDATE sign_ins SET in_id = ?, signed_in_at = ?, ip = ?, user_agent = ?, reported_at = ?
    WHERE number = (SELECT min(number) FROM sign_ins
        WHERE {_OWN} AND signed_in_at IS NULL AND signed_out_at >= ?)
"""  # noqa: S608 - of constants
_BEGIN: Final = """
    INSERT INTO sign_ins
    (in_id, user_id, caller, device_id, signed_in_at, ip, user_agent, reported_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_END: Final = f"""
    UPDATE sign_ins SET out_id = ?, signed_out_at = ?, reported_at = ?
    WHERE number = (SELECT max(number) FROM sign_ins
        WHERE {_OWN} AND signed_out_at IS NULL AND signed_in_at <= ?)
"""  # noqa: S608 - of constants
_END_ALONE: Final = """
    INSERT INTO sign_ins (out_id, user_id, caller, device_id, signed_out_at, reported_at)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_PRUNE: Final = """
    DELETE FROM sign_ins WHERE user_id = ?1 AND number <= (
        SELECT number FROM sign_ins WHERE user_id = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2
    )
"""
_RECENT: Final = """
    SELECT caller, device_id, signed_in_at, signed_out_at, ip, user_agent
    FROM sign_ins WHERE user_id = ?
    ORDER BY coalesce(signed_in_at, signed_out_at) DESC, number DESC LIMIT ?
"""


class SqlSignIns:
    """Implements `core.sign_ins.SignIns`."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot

    async def add(self, reports: Sequence[Report], *, caller: str, now: datetime) -> None:
        """Take down a batch, in one step."""

        def work(session: Session) -> None:
            touched = set()
            for report in reports:
                row = session.run(_USER, (report.localpart,)).fetchone()
                if row is None or session.run(_KNOWN, (report.id,)).fetchone():
                    continue
                take = _begin if report.signed_in else _end
                take(session, report, row[0], caller, text_of(now))
                touched.add(row[0])
            for user_id in touched:
                session.run(_PRUNE, (user_id, KEEP_PER_ACCOUNT))

        await self._hot.write(work)

    async def recent(self, user_id: UserId, *, limit: int) -> tuple[SignIn, ...]:
        """Return up to `limit` sessions of an account, the newest first."""

        def work(session: Session) -> tuple[SignIn, ...]:
            return tuple(_sign_in(*row) for row in session.run(_RECENT, (user_id, limit)))

        return await self._hot.read(work)

    async def sweep(self, *, before: datetime) -> int:
        """Forget sessions that nothing was reported of since. Returns how many."""
        old = (text_of(before),)
        return await delete_old(
            self._hot, "sign_ins", key="number", condition="reported_at < ?", values=old
        )


def _begin(session: Session, report: Report, user_id: str, caller: str, now: str) -> None:
    at, owner = text_of(report.at), (user_id, caller, report.device_id)
    source = (at, report.ip, report.user_agent, now)
    if session.run(_ENDED, (report.id, *source, *owner, at)).rowcount == 0:
        session.run(_BEGIN, (report.id, *owner, *source))


def _end(session: Session, report: Report, user_id: str, caller: str, now: str) -> None:
    at, owner = text_of(report.at), (user_id, caller, report.device_id)
    if session.run(_END, (report.id, at, now, *owner, at)).rowcount == 0:
        session.run(_END_ALONE, (report.id, *owner, at, now))


def _sign_in(
    caller: str,
    device_id: str | None,
    signed_in_at: str | None,
    signed_out_at: str | None,
    ip: str | None,
    user_agent: str | None,
) -> SignIn:
    return SignIn(
        caller=caller,
        device_id=device_id,
        signed_in_at=_moment(signed_in_at),
        signed_out_at=_moment(signed_out_at),
        ip=ip,
        user_agent=user_agent,
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else instant(text)
