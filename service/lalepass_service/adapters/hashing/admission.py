"""Who may hash now, who waits, and who is sent away: the counting of it. Threads are in `slots`."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from lalepass_service.adapters.hashing.durations import Durations
from lalepass_service.adapters.hashing.jobs import Job
from lalepass_service.core.errors import Overloaded

if TYPE_CHECKING:
    import asyncio

MIN_RETRY_SECONDS: Final = 1.0
"""Nobody is told to come back sooner: a herd that returns at once is the same herd."""

_SURE: Final = 0.6
"""Of the deadline: who is let in with a longer wait before them than this may not make it, for the
machine can become slower meanwhile, and those who wait in vain have waited longest."""

_LONG: Final = 1 / 3
"""Of the deadline: what may take longer never gets the last slot. Others would wait behind it for
as long, so that two guesses at such records could keep everybody out."""

_WAITS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: the upper bounds of what is counted of waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HasherLoad:
    """How busy the hasher is at this moment."""

    slots: int
    busy: int
    waiting: int
    held: int
    """Of those who wait, how many need not a slot but the end of others that take as much."""
    extra_kib: int
    """Memory that foreign work may take now above what ours would take in its place."""
    shed: int
    """Refused since the start, at the door or after the longest wait."""
    completed: int
    """Work that ran to its end since the start, whether or not its caller was still there."""
    seconds: float
    """What a hash of ours takes, averaged over the last twenty or so."""
    waits: tuple[tuple[tuple[float, int], ...], float]
    """How many had waited for up to so many seconds when a thread took them, each in one place
    only, and how long all together. Who was refused was taken by none."""


class Admission:
    """Counts who is inside, on the event loop, so that it needs no lock.

    Work that may take long, by its kind, is held back while it has all slots but one: the last one
    is for everybody else. With one slot there is none to keep.

    Work that takes more memory than ours is held back while all of it together would take more than
    there is for it. Those who are held back come in the order in which they came, but for one who
    lacks nothing that somebody before them lacks, too. Work of ours is never held back.
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
        self._count = count
        self._max_waiting = max_waiting
        self._deadline = deadline
        self._durations = Durations(own=expected_duration)
        self._inside = 0
        self._most_long = count - 1
        self._long = 0
        self._most_extra_kib = extra_kib
        self._extra_kib = 0
        self._held: deque[Job] = deque()
        self._shed = 0
        self._completed = 0
        self._waits = [0] * (len(_WAITS) + 1)
        self._waited = 0.0

    @property
    def full(self) -> bool:
        """Whether no slot is free."""
        return self._inside >= self._count

    def load(self) -> HasherLoad:
        """Return the figures of this moment."""
        busy = min(self._inside, self._count)
        return HasherLoad(
            slots=self._count,
            busy=busy,
            waiting=self._inside - busy + len(self._held),
            held=len(self._held),
            extra_kib=self._extra_kib,
            shed=self._shed,
            completed=self._completed,
            seconds=self._durations.own.seconds,
            waits=(tuple(zip((*_WAITS, inf), self._waits, strict=True)), self._waited),
        )

    def admit(self, *, coming: int = 0) -> None:
        """Say whether one more could come in now, and count it if not.

        Args:
            coming: how many have been told that they could, and are not here yet.

        Raises:
            Overloaded: too many wait already, or it takes too long until they are through.
        """
        waiting = self._inside + coming - self._count
        if waiting < 0:
            return
        # Who would wait for longer than the deadline is better told so at once.
        full = waiting + len(self._held) >= self._max_waiting
        if full or self._ahead(coming) > _SURE * self._deadline:
            raise self.overloaded()

    def job(
        self,
        work: Callable[[], Any],
        done: "asyncio.Future[Any]",
        kind: str,
        *,
        extra_kib: int = 0,
    ) -> Job:
        """Make a job, unless it is one that would be held back for too long.

        Raises:
            Overloaded: it would.
        """
        known = self._durations.of(kind)
        foreign = known is not self._durations.own
        long = foreign and self._most_long > 0 and known.may_take(_LONG * self._deadline)
        job = Job(work, done, known, long=long, extra_kib=extra_kib)
        if self.holds(job):
            waiting = self._inside + len(self._held) - self._count
            if waiting >= self._max_waiting or self._before(job) > _SURE * self._deadline:
                raise self.overloaded()
        return job

    def holds(self, job: Job) -> bool:
        """Say whether it has to wait for others that take as much to end."""
        if not (job.long or job.extra_kib):
            return False
        held = tuple(self._held)
        return self._lacks(
            job,
            no_slot=any(each.long for each in held),
            no_memory=any(each.extra_kib for each in held),
        )

    def enter(self, job: Job) -> bool:
        """Take it in. Returns whether it is to be handed over, or held back for now."""
        if self.holds(job):
            self._held.append(job)
            return False
        self._take_in(job)
        return True

    def leave(self, job: Job, *, seconds: float | None = None) -> Sequence[Job]:
        """Take it out. Returns those that were held back and are to be handed over now.

        Args:
            job: has ended, or nobody wants it any more.
            seconds: how long it took, if it was done.
        """
        if seconds is not None:
            self._completed += 1
            job.kind.took(seconds)
            waited = job.taken - job.came
            self._waits[bisect_left(_WAITS, waited)] += 1
            self._waited += waited
        if not job.entered:
            # At the end it may be gone from there already: see `release`.
            with suppress(ValueError):
                self._held.remove(job)
            return self._let_in()
        self._inside -= 1
        if job.long:
            self._long -= 1
        else:
            job.kind.inside -= 1
        if not (job.long or job.extra_kib):
            return ()
        self._extra_kib -= job.extra_kib
        return self._let_in()

    def release(self) -> list[Job]:
        """Return all that are held back, at the end. May be called on another thread."""
        held: list[Job] = []
        with suppress(IndexError):
            while True:
                held.append(self._held.popleft())
        return held

    def overloaded(self) -> Overloaded:
        """Count one that is sent away, and return what it is told."""
        self._shed += 1
        return Overloaded(retry_after=max(MIN_RETRY_SECONDS, self._ahead()))

    def _take_in(self, job: Job) -> None:
        self._inside += 1
        self._extra_kib += job.extra_kib
        if job.long:
            self._long += 1
        else:
            job.kind.inside += 1
        job.entered, job.since = True, perf_counter()

    def _let_in(self) -> Sequence[Job]:
        """Take in all that lack nothing any more, nor anything that one before them waits for."""
        entered: list[Job] = []
        no_slot = no_memory = False
        # Of a copy, which is made in one step: see `release`.
        for job in tuple(self._held):
            if self._lacks(job, no_slot=no_slot, no_memory=no_memory):
                no_slot, no_memory = no_slot or job.long, no_memory or job.extra_kib > 0
                continue
            try:
                self._held.remove(job)
            except ValueError:
                break
            self._take_in(job)
            entered.append(job)
        return entered

    def _lacks(self, job: Job, *, no_slot: bool, no_memory: bool) -> bool:
        """Say whether something that it needs is all taken, or is somebody else's first.

        A job that needs more memory than there is for all of them has it when it is alone.
        """
        if job.long and (no_slot or self._long >= self._most_long):
            return True
        if not job.extra_kib:
            return False
        taken = self._extra_kib
        return no_memory or (taken > 0 and taken + job.extra_kib > self._most_extra_kib)

    def _before(self, job: Job) -> float:
        """Return how many seconds it may be held back, if the others take as long as it does."""
        held = tuple(self._held)
        turns = memory = 0.0
        if job.long:
            turns = (self._long + sum(each.long for each in held)) / self._most_long
        if job.extra_kib:
            kib = self._extra_kib + sum(each.extra_kib for each in held)
            memory = kib / max(self._most_extra_kib, job.extra_kib)
        return max(turns, memory) * job.kind.seconds

    def _ahead(self, coming: int = 0) -> float:
        """Return how many seconds it takes to work off what is here now, and what is coming.

        Long work has its slots for itself, for as long as it takes; the others share the rest.
        """
        return self._durations.ahead(coming=coming) / (self._count - self._long)
