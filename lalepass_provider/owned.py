"""Whether an account here is the one of that name at Lalepass, remembered for a while."""

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

logger = logging.getLogger(__name__)

_SECONDS: Final = 60.0
"""An account may be linked by its next login, and nobody who is locked logs in."""

_MAX_REMEMBERED: Final = 10_000


class Owned:
    """Asks once in a while, for the locked only: they are few, and their clients persistent."""

    def __init__(
        self,
        is_ours: Callable[[str], Awaitable[bool]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_ours = is_ours
        self._monotonic = monotonic
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    async def __call__(self, mxid: str) -> bool:
        """Say whether it is. Never raises: what can't be found out is taken for a yes.

        So a locked account stays locked while Synapse's database is away.
        """
        known = self._known.get(mxid)
        if known is not None and self._monotonic() < known[1]:
            return known[0]
        try:
            ours = await self._is_ours(mxid)
        except Exception:
            logger.exception("Whose %s is could not be found out; it stays locked", mxid)
            return True
        self._known[mxid] = (ours, self._monotonic() + _SECONDS)
        self._known.move_to_end(mxid)
        if len(self._known) > _MAX_REMEMBERED:
            self._known.popitem(last=False)
        return ours
