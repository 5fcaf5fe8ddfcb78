"""One piece of work for all who ask for the same thing at the same time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Joined(Generic[T]):
    """Runs work once for each key, however many wait for it.

    The work is nobody's own: it goes on when the one who began it has gone away, for the others
    may still be there.
    """

    def __init__(self) -> None:
        self._running: dict[bytes, asyncio.Task[T]] = {}

    async def run(self, key: bytes, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what the work for this key returns, or raise what it raises."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(work())
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: bytes, task: asyncio.Task[T]) -> None:
        del self._running[key]
        if not task.cancelled():
            # Looked at, so that asyncio does not complain when everybody has gone.
            task.exception()
