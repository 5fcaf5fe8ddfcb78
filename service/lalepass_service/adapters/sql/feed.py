"""The change feed in the database, as followers read it. It is written by `followers`.

On a thread and a connection of its own: a page of 10 000 names must not stand before a check. The
statements are written by hand, as those of the soft-lock are.
"""

import json
from datetime import datetime
from typing import Any, Final

from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.session import Either, Session, instant
from lalepass_service.core.changes import Change, LockedNames, Stretch
from lalepass_service.core.model import User, UserId, UserState

_DATABASE_ID: Final = "SELECT value FROM facts WHERE name = 'database_id'"
_HEAD: Final = "SELECT coalesce(max(seq), 0) FROM changes"
_BEHIND_TEXT: Final = """
    SELECT c.seq, c.user_id, c.localpart, u.state, u.display_name, u.admin, u.created_at,
        (SELECT {0}position, address{1} FROM user_emails WHERE user_id = c.user_id),
        (SELECT {0}position, number{1} FROM user_phones WHERE user_id = c.user_id)
    FROM changes AS c LEFT JOIN users AS u ON u.id = c.user_id
    WHERE c.seq > ? ORDER BY c.seq LIMIT ?
"""
_BEHIND: Final = Either(
    sqlite=_BEHIND_TEXT.format("json_group_array(json_array(", "))"),
    postgresql=_BEHIND_TEXT.format("coalesce(json_agg(json_build_array(", "))::text, '[]')"),
)
# Each half comes out of an index in the order of the names, so that only the page is read. The
# condition has to be the very one of the index.
_LOCKED_TEXT: Final = """
    SELECT localpart FROM (
        SELECT * FROM (
            SELECT localpart FROM users {}
            WHERE state != 'active' AND localpart > ?1 ORDER BY localpart LIMIT ?2
        ) AS here UNION ALL SELECT * FROM (
            SELECT localpart FROM retired_names
            WHERE localpart > ?1 ORDER BY localpart LIMIT ?2
        ) AS gone
    ) AS names ORDER BY localpart LIMIT ?2
"""
_LOCKED: Final = Either(
    sqlite=_LOCKED_TEXT.format("INDEXED BY ix_users_locked"), postgresql=_LOCKED_TEXT.format("")
)


class SqlChanges:
    """Implements `core.changes.Changes`."""

    def __init__(self, lane: Hot) -> None:
        self._lane = lane

    async def database_id(self) -> str:
        """Return the name of this database."""

        def work(session: Session) -> str:
            return str(session.run(_DATABASE_ID).fetchone()[0])

        return await self._lane.read(work)

    async def head(self) -> int:
        """Return the place of the newest change; 0 if there was none yet."""
        return await self._lane.read(_head)

    async def behind(self, seq: int, *, limit: int) -> Stretch:
        """Return up to `limit` changes behind a place, the oldest first."""

        def work(session: Session) -> Stretch:
            head = _head(session)
            # What is ahead of the head may be more than SQLite can compare with.
            rows = session.run(_BEHIND, (min(seq, head), limit)) if limit else ()
            return Stretch(head=head, changes=tuple(_change(*row) for row in rows))

        return await self._lane.read(work)

    async def locked(self, *, after: str | None, limit: int) -> LockedNames:
        """Return up to `limit` names behind `after`: not active, or retired."""

        def work(session: Session) -> LockedNames:
            head = _head(session)
            rows = session.run(_LOCKED, (after or "", limit)).fetchall()
            return LockedNames(head=head, localparts=tuple(name for (name,) in rows))

        return await self._lane.read(work)


def _head(session: Session) -> int:
    return int(session.run(_HEAD).fetchone()[0])


def _change(seq: int, user_id: str, localpart: str, state: str | None, *known: Any) -> Change:  # noqa: ANN401 - a row's other cells
    user = None if state is None else _user(user_id, localpart, state, *known)
    return Change(seq=seq, user_id=UserId(user_id), localpart=localpart, user=user)


def _user(
    user_id: str,
    localpart: str,
    state: str,
    display_name: str | None,
    admin: int,
    created_at: str | datetime,
    emails: str,
    phones: str,
) -> User:
    """Return the account as far as followers care: without a word on its password."""
    return User(
        id=UserId(user_id),
        localpart=localpart,
        display_name=display_name,
        emails=_in_order(emails),
        phones=_in_order(phones),
        state=UserState(state),
        admin=bool(admin),
        created_at=instant(created_at),
    )


def _in_order(listed: str) -> tuple[str, ...]:
    return tuple(value for _, value in sorted(json.loads(listed)))
