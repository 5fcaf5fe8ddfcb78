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
    be another thread than the loop's; the rest happens on the loop.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[bytes, tuple[object, asyncio.Future[T]]] = {}

    def claim(
        self, key: bytes, facts: object, mine: "asyncio.Future[T]"
    ) -> "asyncio.Future[T] | None":
        """Return the outcome of the one who is at it already; None if the work is mine.

        May be done again, as when a transaction is: mine stays mine.
        """
        with self._lock:
            running = self._running.get(key)
            if running is not None and running[1] is not mine and running[0] == facts:
                return running[1]
            self._running[key] = facts, mine
            return None

    def end(self, key: bytes, mine: "asyncio.Future[T]", outcome: "T | BaseException") -> None:
        """Tell those who wait how it ended. Who comes from now on does the work anew."""
        with self._lock:
            running = self._running.get(key)
            if running is not None and running[1] is mine:
                del self._running[key]
        if not isinstance(outcome, BaseException):
            mine.set_result(outcome)
            return
        # That the one who did the work was stopped is no reason for the others to stop.
        mine.set_exception(outcome if isinstance(outcome, Exception) else NoAnswer())
        # Looked at, so that asyncio does not complain when nobody waits.
        mine.exception()

    def __len__(self) -> int:
        return len(self._running)
