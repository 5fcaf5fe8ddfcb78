"""What is done once a day by one replica for all.

All of it deletes by the clock, and no clock is always right: one that is years ahead for a moment,
such as at a start before NTP, would empty the trail for good. So what is old is forgotten only if
the time before was about a day ago by the same clock; otherwise a day later.
"""

# ruff: noqa: PLC0415 - see the package

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lalepass_service.parts.background import tell_fault

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.turns import SqlTurns

_log: Final = logging.getLogger(__name__)

_EVERY: Final = timedelta(days=1)
_LONGEST: Final = timedelta(days=7)
"""From one time to the next: a weekend without the service, or a holiday, is no wrong clock."""

_LOOK_SECONDS: Final = 3600.0

Chore = Callable[[datetime], Awaitable[Any]]
"""Is given the time, and deletes what is older than something."""


async def keep_house(turns: "SqlTurns", chores: Mapping[str, Chore]) -> None:
    """Do each of them when its turn has come, until this is cancelled."""
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.core.errors import NoAnswer

    clock = SystemClock()
    while True:
        for name, chore in chores.items():
            try:
                # The same time for both: the clock may jump in between.
                now = clock.now()
                turn = await turns.take(name, now=now, every=_EVERY)
                if turn is not None and _is_credible(name, now=now, before=turn.before):
                    await chore(now)
            except NoAnswer as error:
                # Tomorrow will do where today the database is busy. If it never does, what is to be
                # forgotten stays, and the database grows.
                _log.warning("what is old is not forgotten today (%s): %s", name, error)
            except Exception as error:  # noqa: BLE001 - the others are to be done all the same
                tell_fault(f"what is done once a day ({name})", error)
        await asyncio.sleep(_LOOK_SECONDS)


def _is_credible(name: str, *, now: datetime, before: datetime | None) -> bool:
    """Say whether this clock may be gone by; if not, the turn is taken, and nothing is deleted."""
    if before is None:
        # A new database, with nothing to delete, or a new version. Neither says what time it is.
        return False
    if before <= now and now - before <= _LONGEST:
        return True
    _log.warning(
        "what is old is not forgotten today (%s): by this clock it is %s, and the last time was %s,"
        " so that one of the two may be wrong; if the clock is right, it is forgotten tomorrow",
        name,
        now.isoformat(timespec="seconds"),
        before.isoformat(timespec="seconds"),
    )
    return False
