"""Who may hash now, who waits, and who is sent away. Knows nothing of passwords."""

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Final, TypeVar

from lalepass_service.core.errors import Overloaded

T = TypeVar("T")

_MIN_RETRY_SECONDS: Final = 1.0
"""Nobody is told to come back sooner: a herd that returns at once is the same herd."""

_SURE: Final = 0.6
"""Of the deadline: who is let in with a longer wait before them than this may not make it, for the
machine can become slower meanwhile, and those who wait in vain have waited longest."""

_NICE: Final = 5
"""Steps, which make a third of the weight: see `sched(7)`."""

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
    seconds: float
    """What one takes, averaged over the last twenty or so."""


class _Job:
    """A piece of work, its caller, and whose it is to end: the thread's or the loop's."""

    __slots__ = ("_claim", "done", "since", "work")

    def __init__(self, work: Callable[[], Any], done: "asyncio.Future[Any]") -> None:
        self.work = work
        self.done = done
        self.since = perf_counter()
        self._claim = [True]

    def claim(self) -> bool:
        """Take it. The first who asks gets it: popping a list is one step under the GIL."""
        try:
            return self._claim.pop()
        except IndexError:
            return False


class Slots:
    """A pool of threads that admits exactly as many callers as it was told.

    A thread pool alone queues without bound: under load every caller waits longer than the one
    before, and the work of those who have given up is still done. Here at most `count` work and at
    most `max_waiting` wait, in the order in which they came. A thread takes the next one by itself:
    a slot that had to be handed over on the event loop would stand empty until the loop has time.

    Who is inside is counted on the event loop, so it needs no lock; use one instance from one loop
    only.
    """

    def __init__(
        self, *, count: int, max_waiting: int, deadline: float, expected_duration: float
    ) -> None:
        self._count = count
        self._max_waiting = max_waiting
        self._deadline = deadline
        self._inside = 0
        self._queue: deque[_Job | None] = deque()
        # The bells of threads that have nothing to do, the one that worked last at the end. These
        # two are changed by steps that are one under the GIL, from the loop and from the threads.
        self._idle: list[SimpleQueue[None]] = []
        self._threads: list[threading.Thread] = []
        self._shed = 0
        self._completed = 0
        self._average = expected_duration
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run the work on a thread, once it is this caller's turn.

        Raises:
            Overloaded: too many wait already, this caller would wait or has waited too long, or
                the pool is closed.
        """
        self.admit()
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future())
        if self._inside < self._count and len(self._threads) < self._count:
            self._start_thread()
        late = None
        if self._inside >= self._count:
            late = loop.call_later(self._deadline, self._give_up, job)
        self._inside += 1
        self._hand_over(job)
        try:
            result: T = await job.done
        except asyncio.CancelledError:
            # The slot is freed by the end of the work, not by the end of the caller: one who hangs
            # up leaves a thread behind that still uses its core.
            if job.claim():
                self._inside -= 1
            raise
        finally:
            if late is not None:
                late.cancel()
        return result

    def admit(self, *, coming: int = 0) -> None:
        """Say whether one more could come in now, and count it if not.

        Args:
            coming: how many have been told that they could, and are not here yet.

        Raises:
            Overloaded: too many wait already, or it takes too long until they are through.
        """
        if self._closed:
            raise self._overloaded()
        waiting = self._inside + coming - self._count
        if waiting < 0:
            return
        # Who would wait for longer than the deadline is better told so at once.
        if waiting >= self._max_waiting or self._ahead(coming) > _SURE * self._deadline:
            raise self._overloaded()

    def load(self) -> HasherLoad:
        """Return the figures of this moment."""
        busy = min(self._inside, self._count)
        return HasherLoad(
            slots=self._count,
            busy=busy,
            waiting=self._inside - busy,
            shed=self._shed,
            completed=self._completed,
            seconds=self._average,
        )

    def close(self) -> None:
        """Finish the work that runs, refuse all that waits, and stop the threads."""
        self._closed = True
        for _ in self._threads:
            self._hand_over(None)
        for thread in self._threads:
            thread.join()

    def _hand_over(self, job: _Job | None) -> None:
        """Queue a job, and wake the thread that worked last if any is idle.

        It finds the memory that it has just given back still in the caches of its core. Where
        threads take turns, as they do at one shared queue, a hash with nothing else going on takes
        nearly half as long again.
        """
        self._queue.append(job)
        with suppress(IndexError):
            self._idle.pop().put(None)

    def _next(self, bell: "SimpleQueue[None]") -> _Job | None:
        """Wait for a job, on a thread."""
        while True:
            with suppress(IndexError):
                return self._queue.popleft()
            self._idle.append(bell)
            if self._queue:
                # It came between the look and the note. Whoever has taken the note already rings.
                with suppress(ValueError):
                    self._idle.remove(bell)
                    continue
            bell.get()

    def _start_thread(self) -> None:
        name = f"hash_{len(self._threads)}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _serve(self) -> None:
        """Work off the queue, on a thread."""
        _step_back()
        ended = 0.0
        bell: SimpleQueue[None] = SimpleQueue()
        while (job := self._next(bell)) is not None:
            if not job.claim():
                continue
            result: object = None
            error: BaseException | None = None
            seconds: float | None = None
            if self._closed:
                error = _REFUSED
            else:
                try:
                    result = job.work()
                except BaseException as exc:  # noqa: BLE001 - its caller gets it; the thread goes on
                    error = exc
                # From the end of the one before, if this one waited then: on a busy machine a good
                # part of a slot's time is lost between two of them.
                began, ended = max(job.since, ended), perf_counter()
                seconds = ended - began
            # The loop may be gone when work ends after everything else: nobody waits for it then.
            loop = job.done.get_loop()
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._ended, job.done, result, error, seconds)
            # Not kept until there is more work: they may hold a password.
            del job, result, error

    def _ended(
        self,
        done: "asyncio.Future[Any]",
        result: object,
        error: BaseException | None,
        seconds: float | None,
    ) -> None:
        self._inside -= 1
        if seconds is not None:
            self._completed += 1
            self._average += _WEIGHT * (seconds - self._average)
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(self._overloaded() if error is _REFUSED else error)

    def _give_up(self, job: _Job) -> None:
        if job.claim():
            self._inside -= 1
            if not job.done.done():
                job.done.set_exception(self._overloaded())

    def _ahead(self, coming: int = 0) -> float:
        """Return how many seconds it takes to work off what is here now, and what is coming."""
        return (self._inside + coming) * self._average / self._count

    def _overloaded(self) -> Overloaded:
        self._shed += 1
        return Overloaded(retry_after=max(_MIN_RETRY_SECONDS, self._ahead()))


def _step_back() -> None:
    """Let the event loop go first where it and the hashing threads want the same core.

    Hashes use all there are. Without this, the answer to a request that is turned away, and the one
    about the health, wait for the scheduler to take a core from a hash: with it the median is a
    fifth. What others run is hardly touched: the kernel compares threads within a control group, or
    a session, and a service has its own. Elsewhere it is a step back for the hashes, too.
    """
    # Elsewhere the number of a thread is not that of a process, and all of them would step back.
    if sys.platform != "linux":
        return
    with suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)


_REFUSED: Final = Overloaded(retry_after=_MIN_RETRY_SECONDS)
"""Stands for a refusal on the threads; what is raised is made on the loop, which counts it."""
