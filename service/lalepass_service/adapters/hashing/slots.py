"""Who may hash now, who waits, and who is sent away. Knows nothing of passwords."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Final, TypeVar

from lalepass_service.core.errors import Overloaded

T = TypeVar("T")

_MIN_RETRY_SECONDS: Final = 1.0
"""Nobody is told to come back sooner: a herd that returns at once is the same herd."""

_WEIGHT: Final = 0.1
"""Of the newest duration in the moving average: about the last twenty count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HasherLoad:
    """How busy the hasher is at this moment."""

    slots: int
    busy: int
    waiting: int
    shed: int
    """Refused since the start, at the door or after the longest wait."""
    completed: int
    """Work that ran to its end since the start, whether or not its caller was still there."""


class Slots:
    """A pool of threads that admits exactly as many callers as it was told.

    A thread pool alone queues without bound: under load every caller waits longer than the one
    before, and the work of those who have given up is still done. Here at most `count` work and at
    most `max_waiting` wait, in the order in which they came. All accounts are kept on the event
    loop, so they need no lock; use one instance from one loop only.
    """

    def __init__(
        self, *, count: int, max_waiting: int, deadline: float, expected_duration: float
    ) -> None:
        self._count = count
        self._max_waiting = max_waiting
        self._deadline = deadline
        self._busy = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._shed = 0
        self._completed = 0
        self._average = expected_duration
        self._closed = False
        self._threads = ThreadPoolExecutor(max_workers=count, thread_name_prefix="hash")

    async def run(self, work: Callable[[], T]) -> T:
        """Run the work on a thread, once it is this caller's turn.

        Raises:
            Overloaded: too many wait already, this caller has waited too long, or the pool is
                closed.
        """
        await self._enter()
        if self._closed:
            self._leave()
            raise self._overloaded()
        loop = asyncio.get_running_loop()
        started = perf_counter()
        try:
            future = self._threads.submit(work)
        except RuntimeError:  # no thread to be had; the slot is not used
            self._leave()
            raise

        def ended(done: Future[T]) -> None:
            # Called on the thread, or on the loop if the work was cancelled before it began. The
            # loop may be gone when a thread ends after everything else: nobody waits for it then.
            duration = None if done.cancelled() else perf_counter() - started
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._ended, duration)

        # The slot is freed by the end of the work, not by the end of the caller: one who hangs up
        # leaves a thread behind that still uses its core.
        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)

    def load(self) -> HasherLoad:
        """Return the figures of this moment."""
        return HasherLoad(
            slots=self._count,
            busy=self._busy,
            waiting=len(self._queue),
            shed=self._shed,
            completed=self._completed,
        )

    def close(self) -> None:
        """Finish the work that runs, refuse all that waits, and stop the threads."""
        self._closed = True
        self._threads.shutdown(wait=True)

    async def _enter(self) -> None:
        if self._busy < self._count:
            # Nobody waits here: a slot that gets free goes to the head of the queue directly.
            self._busy += 1
            return
        if len(self._queue) >= self._max_waiting:
            raise self._overloaded()
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(self._deadline):
                await turn
        except BaseException as exc:
            self._abandon(turn)
            if isinstance(exc, TimeoutError):
                raise self._overloaded() from None
            raise

    def _abandon(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            # The slot came in the same moment as the end of the wait: pass it on.
            self._leave()
        elif turn in self._queue:
            self._queue.remove(turn)

    def _leave(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy -= 1

    def _ended(self, duration: float | None) -> None:
        if duration is not None:
            self._completed += 1
            self._average += _WEIGHT * (duration - self._average)
        self._leave()

    def _overloaded(self) -> Overloaded:
        self._shed += 1
        # How long it takes to work off what is here now.
        ahead = (self._busy + len(self._queue)) * self._average / self._count
        return Overloaded(retry_after=max(_MIN_RETRY_SECONDS, ahead))
