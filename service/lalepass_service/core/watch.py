"""Waiting until the feed grows: one look at the database for all who wait."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from lalepass_service.core.errors import NoAnswer

_PAUSE_SECONDS: Final = 0.25
"""Between two looks. Other processes change accounts as well, and SQLite calls nobody."""

_MAX_WAITING: Final = 256


@dataclass(eq=False, slots=True)
class _Waiter:
    seq: int
    woken: "asyncio.Future[None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class Watch:
    """Wakes those who wait for something behind a place. Nobody looks while nobody waits."""

    def __init__(
        self,
        head: Callable[[], Awaitable[int]],
        *,
        pause: float = _PAUSE_SECONDS,
        max_waiting: int = _MAX_WAITING,
    ) -> None:
        """Make a watch.

        Args:
            head: returns the newest place; may raise NoAnswer.
            pause: seconds between two looks.
            max_waiting: whoever comes on top of so many does not wait at all.
        """
        self._head = head
        self._pause = pause
        self._max_waiting = max_waiting
        self._waiting: set[_Waiter] = set()
        self._looking: asyncio.Task[None] | None = None
        self._noticed = asyncio.Event()
        self._stopped = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def beyond(self, seq: int, *, seconds: float) -> None:
        """Return when there is something behind `seq`, when the time is over, or at the end.

        Never fails: whoever comes back has to look anyway, and learns then what is wrong.
        """
        if self._stopped or len(self._waiting) >= self._max_waiting:
            return
        waiter = _Waiter(seq)
        self._waiting.add(waiter)
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            await asyncio.wait((waiter.woken,), timeout=seconds)
        finally:
            self._waiting.discard(waiter)

    def notice(self) -> None:
        """Look at once: this process has changed something."""
        self._noticed.set()

    def release(self) -> None:
        """Let everybody go who waits now."""
        for waiter in self._waiting:
            waiter.wake()

    def stop(self) -> None:
        """Let everybody go, and keep nobody any more."""
        self._stopped = True
        self.release()

    async def close(self) -> None:
        """Stop, and end what runs."""
        self.stop()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))

    async def _look(self) -> None:
        try:
            # Whatever goes wrong here goes wrong for those who then look for themselves, and is
            # theirs to report.
            with suppress(Exception):
                await self._look_on()
        finally:
            self.release()

    async def _look_on(self) -> None:
        while self._waiting:
            self._noticed.clear()
            # A lost database wakes nobody: everybody's time goes on.
            with suppress(NoAnswer):
                self._wake(await self._head())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._noticed.wait()

    def _wake(self, head: int) -> None:
        for waiter in self._waiting:
            if waiter.seq < head:
                waiter.wake()
