"""The statements that every check runs, on a thread and a connection of their own.

A check reads a token and an account, pays for its guess before it hashes, and settles after it;
before it accepts, it reads the account once more.
Through SQLAlchemy and a pool each of these costs a twentieth of the hash itself in processor time.
Here what is done is one function on one thread. What has returned is committed: every other process
sees it, and the death of this one does not take it back.

The price: the statements of the soft-lock are written by hand. The others are those of SQLAlchemy
(see `compiled`), and the contract suite of the stores runs on both ways. How the functions are run
is the database's: see `hot_sqlite` and `hot_postgres`.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, Protocol, TypeVar

from lalepass_service.adapters.sql.session import Session
from lalepass_service.core.errors import StoreUnavailable

_log: Final = logging.getLogger(__name__)

T = TypeVar("T")
S = TypeVar("S", bound=Session)
_Runs = TypeVar("_Runs", bound=Session, covariant=True)

_MAX_QUEUED: Final = 4096
"""More than the service admits: whoever is above it is told that the store is not available."""

_MAX_TOGETHER: Final = 128
"""So that the first of a batch does not wait for a long one."""

_MAX_POSTED: Final = 10_000
"""Posted work that has not been done, while the database is away. Beyond that it is dropped."""

_LAST_SECONDS: Final = 1.0
"""For a thread whose connection was cut because it did not end."""

_POSTED_SECONDS: Final = 0.02
"""How long posted work waits for other work to be done with."""


class Reads(Protocol):
    """Runs small functions that only read."""

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run a function that only reads. It sees all that was acknowledged before this call.

        It may run more than once, of which the last time counts.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        ...


class Hot(Reads, Protocol):
    """Runs small functions on the database. They must be quick and must not keep the session."""

    @property
    def connections(self) -> int:
        """How many connections there may be."""
        ...

    @property
    def queued(self) -> int:
        """How much there is for them to do, and is being done."""
        ...

    async def write(self, work: Callable[[Session], T]) -> T:
        """Run a function inside a transaction and return when it is committed.

        There is one such transaction at a time, over all processes and with those of
        `engine.Database.write`. The function may run more than once, of which the last time
        counts. So it must change nothing but the database.

        Raises:
            StoreUnavailable: the database did not answer, or not in time. What was to be written
                may or may not be there.
        """
        ...

    async def step(self, work: Callable[[Session], T], *, key: str) -> T:
        """Run a function whose every statement stands for itself, beside those of other keys.

        Of one key they come one after the other within this process, but not within others: so a
        statement that changes what was read has to find out whether it still is so. Otherwise as
        `write`.
        """
        ...

    def post(self, work: Callable[[Session], object], *, key: str) -> None:
        """Have a function run soon, as `step` does, and do not wait for it.

        It runs before whatever is stepped with the same key after this call. What can't be written
        is lost, and logged. So it has to be something whose loss errs on the safe side.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job(Generic[S, T]):
    """A function that is to be run."""

    work: Callable[[S], T]
    writes: bool
    done: "asyncio.Future[T] | None"
    """None for posted work, which nobody waits for."""
    steps: bool = False
    """Whether each of its statements stands for itself."""

    @property
    def wanted(self) -> bool:
        """Whether anybody still wants it."""
        return self.done is None or not self.done.done()


class Runner(Protocol[_Runs]):
    """Has the connection of a thread, and runs what the thread is given."""

    def run(self, jobs: "Sequence[Job[Any, Any]]") -> list[Any]:
        """Run these and return what each returned or raised. Never raises itself."""
        ...

    def close(self) -> None:
        """Close the connection, if there is one."""
        ...

    def interrupt(self, *, older: float) -> None:
        """Called on another thread: end a job that has run for so many seconds, if possible."""
        ...


class WorkThread(Generic[S]):
    """A queue, a thread and its runner. Belongs to one event loop."""

    def __init__(
        self, runner: Runner[S], *, deadline: float, together: int = _MAX_TOGETHER
    ) -> None:
        """Start the thread. The database is opened with its first use.

        Args:
            runner: what the thread runs jobs with.
            deadline: seconds after which nobody waits any longer.
            together: how many jobs it is given at once, if so many wait.
        """
        self._together = together
        self._runner = runner
        self._deadline = deadline
        self._queue: SimpleQueue[Job[S, Any] | None] = SimpleQueue()
        self._posted: deque[Job[S, Any]] = deque()
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="database", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """How many jobs there are for the thread, with what it is doing."""
        return self._queue.qsize() + self._busy

    async def ask(self, work: Callable[[S], T], *, writes: bool, steps: bool = False) -> T:
        """Have a function run, and return what it returns.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        if self._closed or self._queue.qsize() >= _MAX_QUEUED:
            raise StoreUnavailable
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._bound(loop, done)
        self._queue.put(Job(work, writes, done, steps))
        return await done

    def post(self, work: Callable[[S], object]) -> None:
        """Have a function run as a step soon, and do not wait for it.

        It runs before all writes that are asked for after this call, together with the next of
        them, and after a fiftieth of a second at the latest: a commit of its own would cost as
        much again.
        """
        if self._closed or len(self._posted) >= _MAX_POSTED:
            _log.warning("what was posted to the database is lost")
            return
        self._posted.append(Job(work, writes=True, done=None, steps=True))
        if len(self._posted) == 1:
            asyncio.get_running_loop().call_later(_POSTED_SECONDS, self._push)

    async def close(self) -> None:
        """Finish what is queued and end the thread; leave it behind if it hangs."""
        self._push()
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._deadline)
        if self._thread.is_alive():
            self._runner.interrupt(older=0)
            await asyncio.to_thread(self._thread.join, _LAST_SECONDS)
        if self._watch is not None:
            self._watch.cancel()

    def _push(self) -> None:
        """Wake the thread for what is posted, if it has not been taken along already."""
        if self._posted and not self._closed:
            # A step: on a server anything else would wait for all who write, and hold them up.
            self._queue.put(Job(_nothing, writes=True, done=None, steps=True))
            self._watch_over(asyncio.get_running_loop())

    def _bound(self, loop: asyncio.AbstractEventLoop, done: "asyncio.Future[Any]") -> None:
        """Give up waiting after the deadline.

        All have the same one and most are done in order, so one timer does for all of them: to set
        and to cancel one for each costs more than to read a row.
        """
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()
        self._waiting.append((loop.time() + self._deadline, done))
        self._watch_over(loop)

    def _watch_over(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._watch is None:
            self._watch = loop.call_later(self._deadline, self._give_up, loop)

    def _give_up(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= now):
            _, done = self._waiting.popleft()
            if not done.done():
                done.set_exception(StoreUnavailable())
        # Let go of what has not answered in all this time.
        self._runner.interrupt(older=self._deadline)
        self._watch = None
        if self._waiting:
            self._watch = loop.call_at(self._waiting[0][0], self._give_up, loop)
        elif self._busy:
            # With what nobody waits for any more, or with what was posted.
            self._watch_over(loop)

    def _run(self) -> None:
        while jobs := self._next():
            self._busy = True
            outcomes = self._runner.run(jobs)
            self._busy = False
            _deliver(jobs, outcomes)
            # Not kept until there is more work: they may hold somebody's record.
            del jobs, outcomes
        self._runner.close()

    def _next(self) -> list[Job[S, Any]]:
        """Wait for work and return it; nothing when closed and all is done.

        What nobody waits for any more is left out: its caller was told that it failed.
        """
        while (job := self._queue.get()) is not None:
            jobs = [job]
            with suppress(Empty):
                while len(jobs) < self._together and (job := self._queue.get_nowait()) is not None:
                    jobs.append(job)
            if job is None:
                self._queue.put(None)  # the end was among them: it comes after what is left
            wanted = [job for job in jobs if job.wanted]
            if any(job.writes for job in wanted):
                # What was posted goes along with the next who writes, and before them.
                posted = [self._posted.popleft() for _ in range(len(self._posted))]
                wanted = posted + wanted
            if wanted:
                return wanted
        return []


def _nothing(_: Session) -> None:
    """Be there for the sake of what is posted."""


def _deliver(jobs: Sequence[Job[Any, Any]], outcomes: list[Any]) -> None:
    """Hand all outcomes over with one call to the loop: waking it costs a system call."""
    asked: list[tuple[asyncio.Future[Any], Any]] = []
    lost = 0
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.done is not None:
            asked.append((job.done, outcome))
        else:
            lost += isinstance(outcome, BaseException)
    if lost:
        _log.warning("what was posted to the database is lost, %d times", lost)
    if asked:
        # The loop may be gone, and all who waited with it.
        with suppress(RuntimeError):
            asked[0][0].get_loop().call_soon_threadsafe(_settle, asked)


def _settle(asked: list[tuple["asyncio.Future[Any]", Any]]) -> None:
    for done, outcome in asked:
        if done.done():
            continue  # the caller has gone, or its time was over
        if isinstance(outcome, BaseException):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
