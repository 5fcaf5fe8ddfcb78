"""One piece of work for all who ask for the same thing at the same time."""

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from lalepass_service.core.errors import NoAnswer

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Joined(Generic[T]):
    """Knows who is at which work, so that others wait for the outcome instead of doing it again.

    Who comes claims the work under a key, together with all that its outcome depends on: work that
    began on other facts is not theirs to share. Claims are made where the facts are read, which may
    be another thread than the loop's, and may come to it when whoever asked has gone already; the
    rest happens on the loop. So what ends a claim and what makes one exclude each other, and
    nobody has more than one: what has ended is never waited for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[bytes, tuple[object, asyncio.Future[T]]] = {}
        self._claimed: dict[asyncio.Future[T], bytes] = {}

    def claim(
        self, key: bytes, facts: object, mine: "asyncio.Future[T]"
    ) -> "asyncio.Future[T] | None":
        """Return the outcome of the one who is at it already; None if the work is mine.

        May be done again, as when a transaction is, and of what was claimed before nothing stays.
        If mine has ended, it is what is returned: then nobody wants the work any more.
        """
        with self._lock:
            self._let_go(mine)
            if mine.done():
                return mine
            running = self._running.get(key)
            if running is not None and running[0] == facts:
                return running[1]
            self._running[key] = facts, mine
            self._claimed[mine] = key
            return None

    def end(self, mine: "asyncio.Future[T]", outcome: "T | BaseException") -> None:
        """Tell those who wait how it ended. Who comes from now on does the work anew."""
        with self._lock:
            self._let_go(mine)
            if not isinstance(outcome, BaseException):
                mine.set_result(outcome)
                return
            # That the one who did the work was stopped is no reason for the others to stop.
            mine.set_exception(outcome if isinstance(outcome, Exception) else NoAnswer())
        # Looked at, so that asyncio does not complain when nobody waits.
        mine.exception()

    def _let_go(self, mine: "asyncio.Future[T]") -> None:
        key = self._claimed.pop(mine, None)
        running = None if key is None else self._running.get(key)
        # Who knows other facts may have taken its place by now, or have had it.
        if key is not None and running is not None and running[1] is mine:
            del self._running[key]

    def __len__(self) -> int:
        return len(self._claimed)
