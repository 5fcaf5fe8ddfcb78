"""How many checks a source and a caller may ask for, counted in constant memory.

The soft-lock bounds guesses at one account; this bounds what one place may ask for altogether, so
that nobody tries one password on every account, nor buys all of the machine's time.

Written here and not taken from a library: the usual one for Python keeps its counts in memory with
a thread that walks all keys every ten milliseconds, which is what an attacker with many addresses
would wish for.

Counted in this process, and decided here: nobody waits for a trip before the check has begun. Where
replicas share their counts, each hears a moment later what the others let through, and lifts its
own counts by it (`adapters/valkey/throttle.py`). Where they should share and can't, each counts
every request as often as there are replicas.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from lalepass_service.core.errors import Throttled

_MAX_KEYS: Final = 100_000
"""Keys remembered at a time, some 15 MB. Beyond that the one not seen for longest begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests in a row, and so many a second in the long run."""

    burst: int
    per_second: float


class Buckets:
    """One budget for each key, by the generic cell rate algorithm (ITU-T I.371).

    Of each key it keeps one number: when its budget will be full again.
    """

    def __init__(self, rate: Rate, *, max_keys: int = _MAX_KEYS) -> None:
        self.interval = 1.0 / rate.per_second
        """Seconds in which one comes back."""
        self._burst = rate.burst
        self._max_keys = max_keys
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def hit(self, key: str, *, now: float, among: int = 1) -> float:
        """Take one from the key's budget; as many as there are processes that divide it.

        Returns:
            0 if there was one, else the seconds until there will be. Then nothing is taken.
        """
        full_at = max(now, self._full_at.get(key, now))
        wait = full_at - now - max(0, self._burst - among) * self.interval
        if wait > 0:
            return wait
        self._set(key, full_at + among * self.interval)
        return 0.0

    def lift(self, key: str, *, full_at: float) -> None:
        """Others have taken from the budget, too: it is not full before this."""
        if full_at > self._full_at.get(key, 0.0):
            self._set(key, full_at)

    def _set(self, key: str, full_at: float) -> None:
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._max_keys:
            self._full_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._full_at)


class LocalThrottle:
    """Implements `ports.Throttle` for one process."""

    def __init__(
        self,
        *,
        source: Rate,
        caller: Rate,
        seconds: Callable[[], float] = monotonic,
        among: Callable[[], int] = lambda: 1,
    ) -> None:
        """Count nothing yet.

        Args:
            source: what one place may ask for.
            caller: what one caller may ask for.
            seconds: the time.
            among: says how many processes divide the budgets, at the moment.
        """
        self.sources = Buckets(source)
        self.callers = Buckets(caller)
        self.seconds = seconds
        self._among = among

    def hit(self, *, source: str | None, caller: str) -> None:
        """Count a request.

        Raises:
            Throttled: its source or its caller has asked for too many.
        """
        now, among = self.seconds(), self._among()
        # The source first: what it is refused must not come out of everybody's budget.
        wait = 0.0 if source is None else self.sources.hit(source, now=now, among=among)
        if not wait:
            wait = self.callers.hit(caller, now=now, among=among)
        if wait:
            raise Throttled(retry_after=wait)
