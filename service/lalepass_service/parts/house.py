"""What is done once a day by one replica for all."""

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
_LOOK_SECONDS: Final = 3600.0

Chore = Callable[[datetime], Awaitable[Any]]
"""Is given the time."""


async def keep_house(turns: "SqlTurns", chores: Mapping[str, Chore]) -> None:
    """Do each of them when its turn has come, until this is cancelled."""
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.core.errors import NoAnswer

    clock = SystemClock()
    while True:
        for name, chore in chores.items():
            try:
                if await turns.take(name, now=clock.now(), every=_EVERY):
                    await chore(clock.now())
            except NoAnswer as error:
                # Tomorrow will do where today the database is busy. If it never does, what is to be
                # forgotten stays, and the database grows.
                _log.warning("what is old is not forgotten today (%s): %s", name, error)
            except Exception as error:  # noqa: BLE001 - the others are to be done all the same
                tell_fault(f"what is done once a day ({name})", error)
        await asyncio.sleep(_LOOK_SECONDS)
