"""The threads that hash, and the queue in front of them. Knows nothing of passwords."""

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from time import perf_counter
from typing import Final, TypeVar

from lalepass_service.adapters.hashing.admission import (
    MIN_RETRY_SECONDS,
    Admission,
    HasherLoad,
)
from lalepass_service.adapters.hashing.durations import OWN
from lalepass_service.adapters.hashing.jobs import Job
from lalepass_service.core.errors import Overloaded

T = TypeVar("T")

_NICE: Final = 5
"""Steps, which make a third of the weight: see `sched(7)`."""


class Slots:
    """A pool of threads that admits exactly as many callers as it was told.

    A thread pool alone queues without bound: under load every caller waits longer than the one
    before, and the work of those who have given up is still done. Here at most `count` work and at
    most `max_waiting` wait, in the order in which they came. A thread takes the next one by itself:
    a slot that had to be handed over on the event loop would stand empty until the loop has time.

    Who is inside is counted on the event loop (`admission`); use one instance from one loop only.
    """

    def __init__(
        self,
        *,
        count: int,
        max_waiting: int,
        deadline: float,
        expected_duration: float,
        extra_kib: int,
    ) -> None:
        """Make a pool, whose threads are started when they are needed.

        Args:
            count: of threads.
            max_waiting: how many may wait for one.
            deadline: how many seconds each of those may wait.
            expected_duration: what a hash of ours takes, in seconds.
            extra_kib: how much memory all other work together may take above what hashes of ours
                would take in its place.
        """
        self._count = count
        self._deadline = deadline
        self._admission = Admission(
            count=count,
            max_waiting=max_waiting,
            deadline=deadline,
            expected_duration=expected_duration,
            extra_kib=extra_kib,
        )
        self._queue: deque[Job | None] = deque()
        # The bells of threads that have nothing to do, the one that worked last at the end. These
        # two are changed by steps that are one under the GIL, from the loop and from the threads.
        self._idle: list[SimpleQueue[None]] = []
        self._threads: list[threading.Thread] = []
        self._closed = False

    async def run(self, work: Callable[[], T], *, kind: str = OWN, extra_kib: int = 0) -> T:
        """Run the work on a thread, once it is this caller's turn.

        Args:
            work: what is to be done.
            kind: names work that takes about the same time.
            extra_kib: how much more memory it takes than a hash of ours.

        Raises:
            Overloaded: too many wait already, this caller would wait or has waited too long, or
                the pool is closed.
        """
        self.admit()
        loop, admission = asyncio.get_running_loop(), self._admission
        job = admission.job(work, loop.create_future(), kind, extra_kib=extra_kib)
        if not admission.full and len(self._threads) < self._count:
            self._start_thread()
        late = None
        if admission.full or admission.holds(job):
            late = loop.call_later(self._deadline, self._give_up, job)
        if admission.enter(job):
            self._hand_over(job)
        try:
            result: T = await job.done
        except asyncio.CancelledError:
            # The slot is freed by the end of the work, not by the end of the caller: one who hangs
            # up leaves a thread behind that still uses its core.
            if job.claim():
                self._leave(job)
            raise
        finally:
            if late is not None:
                late.cancel()
        return result

    def admit(self, *, coming: int = 0) -> None:
        """Say whether one more could come in now: see `Admission.admit`.

        Raises:
            Overloaded: too many wait already, it takes too long until they are through, or the
                pool is closed.
        """
        if self._closed:
            raise self._admission.overloaded()
        self._admission.admit(coming=coming)

    def load(self) -> HasherLoad:
        """Return the figures of this moment."""
        return self._admission.load()

    def close(self, *, seconds: float | None = None) -> None:
        """Finish the work that runs, refuse all that waits, and stop the threads.

        Args:
            seconds: how long to wait for work that runs, at most. It may be called again, to wait
                for the rest.
        """
        if not self._closed:
            self._closed = True
            for job in self._admission.release():
                self._hand_over(job)
            for _ in self._threads:
                self._hand_over(None)
        end = None if seconds is None else perf_counter() + seconds
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - perf_counter()))

    def _hand_over(self, job: Job | None) -> None:
        """Queue a job, and wake the thread that worked last if any is idle.

        It finds the memory that it has just given back still in the caches of its core. Where
        threads take turns, as they do at one shared queue, a hash with nothing else going on takes
        nearly half as long again.
        """
        self._queue.append(job)
        with suppress(IndexError):
            self._idle.pop().put(None)

    def _next(self, bell: "SimpleQueue[None]") -> Job | None:
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
                # Its caller has given up. Not kept either: see below.
                del job
                continue
            job.taken = perf_counter()
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
                loop.call_soon_threadsafe(self._ended, job, result, error, seconds)
            # Not kept until there is more work: they may hold a password.
            del job, result, error

    def _ended(
        self, job: Job, result: object, error: BaseException | None, seconds: float | None
    ) -> None:
        self._leave(job, seconds=seconds)
        if job.done.done():
            return
        if error is None:
            job.done.set_result(result)
        else:
            refused = error is _REFUSED
            job.done.set_exception(self._admission.overloaded() if refused else error)

    def _give_up(self, job: Job) -> None:
        if job.claim():
            self._leave(job)
            if not job.done.done():
                job.done.set_exception(self._admission.overloaded())

    def _leave(self, job: Job, *, seconds: float | None = None) -> None:
        for waiting in self._admission.leave(job, seconds=seconds):
            self._hand_over(waiting)


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


_REFUSED: Final = Overloaded(retry_after=MIN_RETRY_SECONDS)
"""Stands for a refusal on the threads; what is raised is made on the loop, which counts it."""
