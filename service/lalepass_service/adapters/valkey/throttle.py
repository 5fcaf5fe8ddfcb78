"""How often sources and callers may ask, counted by all replicas together.

Each replica decides by its own counts, and tells Valkey ten times a second what it let through. The
answer is what all of them let through, and lifts its counts. So a check waits for no trip, and a
flood costs Valkey as many commands as it has sources and not as it has requests. The price: who
comes to N replicas at the same moment may have up to N bursts, once, where one would be the rule;
after that tenth of a second all of them know. These limits keep one place from taking all of the
machine's time. Guesses at an account are counted exactly, by its lanes.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from lalepass_service.adapters.valkey.client import Client, Lost, Script
from lalepass_service.adapters.valkey.connections import Word
from lalepass_service.core.digests import Digests
from lalepass_service.core.throttle import Buckets, LocalThrottle

_TELL_SECONDS: Final = 0.1
_TOGETHER: Final = 500
"""Keys in one trip."""
_SECOND: Final = 1_000_000

_TAKE: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full = tonumber(redis.call('GET', KEYS[1]) or 0)
if full < now then full = now end
full = full + ARGV[1]
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
return full - now
""")
"""Take from a budget. Argument: microseconds until what is taken comes back. Returns those until
the budget is full again. By the clock of Valkey: those of the replicas may differ."""

_SOURCE: Final = "s"
_CALLER: Final = "c"


class SharedThrottle:
    """Implements `core.ports.Throttle` for all replicas."""

    def __init__(self, local: LocalThrottle, *, client: Client, digests: Digests) -> None:
        """Count nothing yet.

        Args:
            local: decides. Its budgets are divided among the replicas while `client` is not up.
            client: where the counts are brought together.
            digests: what sources and callers are named with.
        """
        self._local = local
        self._client = client
        self._digests = digests
        self._taken: Counter[tuple[str, str]] = Counter()

    def hit(self, *, source: str | None, caller: str) -> None:
        """Count a request.

        Raises:
            Throttled: its source or its caller has asked for too many.
        """
        self._local.hit(source=source, caller=caller)
        if not self._client.up:
            return
        if source is not None:
            self._taken[_SOURCE, source] += 1
        self._taken[_CALLER, caller] += 1

    async def run(self) -> None:
        """Tell and hear what was let through, until this is cancelled."""
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            # What can't be told is forgotten: it comes back within minutes anyway.
            with suppress(Lost):
                await self.tell()

    async def tell(self) -> None:
        """Tell what was let through since the last time, and hear of the others.

        Raises:
            Lost: it could not be told.
        """
        taken, self._taken = self._taken, Counter()
        keys = list(taken)
        for begin in range(0, len(keys), _TOGETHER):
            together = keys[begin : begin + _TOGETHER]
            calls = [self._call(key, taken[key]) for key in together]
            for key, left in zip(together, await self._client.run_all(_TAKE, calls), strict=True):
                self._lift(key, left / _SECOND)

    def _lift(self, key: tuple[str, str], left: float) -> None:
        buckets = self._buckets(key)
        # Since it was told, more was let through here.
        more = self._taken[key] * buckets.interval if key in self._taken else 0.0
        buckets.lift(key[1], full_at=self._local.seconds() + left + more)

    def _call(self, key: tuple[str, str], count: int) -> Sequence[Word]:
        kind, name = key
        named = f"{self._client.prefix}:1:t:{{{self._digests.name(name, kind=kind)}}}"
        cost = round(count * self._buckets(key).interval * _SECOND)
        return named, cost

    def _buckets(self, key: tuple[str, str]) -> Buckets:
        return self._local.sources if key[0] == _SOURCE else self._local.callers
