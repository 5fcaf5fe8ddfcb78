"""Forgetting lanes that are of no use any more, some at a time.

All old lanes are looked through, from the newest on, since most of them stay: what somebody has
guessed at an account, and the newest of the names that nobody has. So each statement looks at some
of them only, and checks come in between (see `retention`).
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.retention import AT_ONCE, PAUSE_SECONDS
from lalepass_service.adapters.sql.session import Session, instant, text_of
from lalepass_service.core.softlock import NOBODY

_EVERYBODY: Final = b""
_KEY: Final = "forgetting"

_PAGE: Final = f"""
    SELECT changed_at, lane, account,
        EXISTS (SELECT 1 FROM users WHERE id = lanes.account) FROM lanes
    WHERE changed_at < ? ORDER BY changed_at DESC LIMIT {AT_ONCE}
"""  # noqa: S608 - a constant
# What has changed since it was read is not in these bounds any more. Names as they were typed are
# from before names had digests, and accounts may have been deleted beside this.
_FORGET: Final = f"""
    DELETE FROM lanes WHERE changed_at >= ? AND changed_at < ? AND (lane != ?
        OR (account LIKE '%{NOBODY}' AND changed_at < ?)
        OR (account NOT LIKE '%{NOBODY}'
            AND NOT EXISTS (SELECT 1 FROM users WHERE id = lanes.account)))
"""  # noqa: S608 - constants


class _Row(NamedTuple):
    changed_at: str | datetime
    lane: bytes
    account: str
    has_account: bool


async def forget_lanes(hot: Hot, *, before: datetime, names_kept: int) -> int:
    """Forget lanes that nobody was at since. Returns how many there were.

    Those of everybody at an account stay, and so do the newest at names that nobody has.

    Raises:
        StoreUnavailable: the database did not answer. What is forgotten by then stays so.
    """
    forgotten, names = 0, 0
    until = text_of(before)
    names_from = None if names_kept else until
    """Names from before that go; None as long as there are not too many."""
    while page := await hot.step(partial(_page, until=until), key=_KEY):
        lowest = text_of(instant(page[-1].changed_at))
        for row in page:
            names += row.account.endswith(NOBODY)
            if names == names_kept and names_from is None:
                names_from = text_of(instant(row.changed_at))
        if any(_may_go(row, too_many=names_from is not None) for row in page):
            bounds = (lowest, until, _EVERYBODY, names_from or lowest)
            forgotten += await hot.step(partial(_forget, bounds=bounds), key=_KEY)
        until = lowest
        await asyncio.sleep(PAUSE_SECONDS)
    return forgotten


def _may_go(row: _Row, *, too_many: bool) -> bool:
    if row.lane != _EVERYBODY:
        return True
    return too_many if row.account.endswith(NOBODY) else not row.has_account


def _page(session: Session, *, until: str) -> Sequence[_Row]:
    return [_Row(*cells) for cells in session.run(_PAGE, (until,))]


def _forget(session: Session, *, bounds: Sequence[object]) -> int:
    return session.run(_FORGET, bounds).rowcount
