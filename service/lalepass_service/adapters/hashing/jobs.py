"""Work for the slots, with all that is known of it."""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lalepass_service.adapters.hashing.durations import Kind

if TYPE_CHECKING:
    import asyncio


class Job:
    """A piece of work, its caller, and whose it is to end: the thread's or the loop's."""

    __slots__ = (
        "_claim",
        "came",
        "done",
        "entered",
        "extra_kib",
        "kind",
        "long",
        "since",
        "taken",
        "work",
    )

    def __init__(
        self,
        work: Callable[[], Any],
        done: "asyncio.Future[Any]",
        kind: Kind,
        *,
        long: bool,
        extra_kib: int,
    ) -> None:
        self.work = work
        self.done = done
        self.kind = kind
        self.long = long
        self.extra_kib = extra_kib
        """How much more memory it takes than work of ours."""
        self.entered = False
        """Whether it was handed over to the threads."""
        self.came = self.since = self.taken = perf_counter()
        """When it came, was handed over, and was taken by a thread."""
        self._claim = [True]

    def claim(self) -> bool:
        """Take it. The first who asks gets it: popping a list is one step under the GIL."""
        try:
            return self._claim.pop()
        except IndexError:
            return False
