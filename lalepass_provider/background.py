"""Work that nobody waits for: how it is started, how it pauses, how it runs once at a time.

Synapse accounts for the time of each piece of work to a logging context, so it has to be started
through Synapse.
"""

import logging
import random
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar, cast

from synapse.logging.context import (
    PreserveLoggingContext,
    make_deferred_yieldable,
)
from synapse.module_api import ModuleApi
from synapse.util.async_helpers import delay_cancellation
from twisted.internet import defer, reactor
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from lalepass_provider.racing import race

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[], Awaitable[None]]
Run = Callable[[str, Work], "defer.Deferred[Any]"]
"""Starts work, and returns a Deferred of its end."""


class Background(Protocol):
    """Starts work and lets it wait."""

    def start(self, name: str, work: Work) -> None:
        """Start it, and return at once. What it raises is written to the log."""
        ...

    def repeat(self, name: str, work: Work) -> None:
        """Do it again and again for as long as this process lives, also after it has failed."""
        ...

    def pause(self, seconds: float) -> Awaitable[None]:
        """Wait; 0 lets others have a turn."""
        ...

    async def within(self, name: str, work: Callable[[], Awaitable[T]], *, seconds: float) -> T:
        """Do it, and wait for it so long and no longer.

        Raises:
            twisted.internet.defer.TimeoutError: it had not ended by then. It was cancelled; what
                waits for the database or for a thread goes on all the same (`racing.py`).
        """
        ...

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do what blocks on a disk. A cancellation does not end it, and is raised after it."""
        ...

    def at_end(self, name: str, work: Work, *, seconds: float) -> None:
        """Do it when the process is told to end, which waits for it so long and no longer."""
        ...


class SynapseBackground:
    """`Background` in a homeserver's process."""

    def __init__(self, homeserver: ModuleApi) -> None:
        self._homeserver = homeserver
        self._run = cast("Run", homeserver.run_as_background_process)

    def start(self, name: str, work: Work) -> None:
        """Start it in a logging context of its own."""
        self._run(f"lalepass_{name}", work)

    def repeat(self, name: str, work: Work) -> None:
        """Do it in every process of the homeserver in which the module is loaded."""
        Loop(f"lalepass_{name}", work, run=self._run, clock=cast("IReactorTime", reactor)).begin()

    async def pause(self, seconds: float) -> None:
        """Wait on the reactor's clock."""
        await self._homeserver.sleep(seconds)

    async def within(self, name: str, work: Callable[[], Awaitable[T]], *, seconds: float) -> T:
        """Do it in a logging context of its own, which may outlast that of who asks."""
        clock = cast("IReactorTime", reactor)
        done = race(work, seconds, run=lambda do: self._run(f"lalepass_{name}", do), clock=clock)
        return await make_deferred_yieldable(done)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Use a thread of its own: ten stuck calls in Synapse's pool freeze the homeserver.

        It is a daemon, so a hung disk does not keep the homeserver from ending.

        Raises:
            RuntimeError: the machine has no thread left, beside what the work raises.
        """
        done: defer.Deferred[T] = defer.Deferred()
        threads: Any = reactor
        call_from_thread = threads.callFromThread

        def run() -> None:
            try:
                result = work()
            except BaseException:  # noqa: BLE001 - it is raised where it is waited for
                call_from_thread(done.errback, Failure())
            else:
                call_from_thread(done.callback, result)

        threading.Thread(target=run, name="lalepass", daemon=True).start()
        return await delay_cancellation(make_deferred_yieldable(done))

    def at_end(self, name: str, work: Work, *, seconds: float) -> None:
        """Hold the reactor's end up for a moment."""
        loop: Any = reactor

        def end() -> "defer.Deferred[None]":
            over: defer.Deferred[None] = defer.Deferred()

            def finish() -> None:
                if not over.called:
                    # What comes next at the end is Synapse's, which insists on no context.
                    with PreserveLoggingContext():
                        over.callback(None)

            async def do() -> None:
                try:
                    await work()
                finally:
                    finish()

            self.start(name, do)
            loop.callLater(seconds, finish)
            return over

        loop.addSystemEventTrigger("before", "shutdown", end)


class Loop:
    """Does work round after round for as long as the process lives, whatever becomes of a round.

    Synapse's own looping call ends for good at its first assertion: that no other module has left
    its logging context behind on the reactor (`util/clock.py`, looping_call). So rounds are begun
    here by calls of the reactor itself, which assert nothing, and out of any context.
    """

    BETWEEN: Final = 0.01
    """Seconds from one round to the next."""
    LONGEST: Final = 600.0
    """Seconds after which a round is taken for one that will not end. The longest that there is
    brings two hundred profiles in step, in some seconds on a database that is well.

    It is cancelled then, and the next one begins when it has ended. So a round must not wait for
    the database or for a thread but by `Background.within`: such a wait is not ended by that."""

    def __init__(self, name: str, work: Work, *, run: Run, clock: IReactorTime) -> None:
        """Make one.

        Args:
            name: for Synapse's log and metrics.
            work: one round.
            run: starts it in a logging context of its own.
            clock: Twisted's reactor.
        """
        self._name = name
        self._work = work
        self._run = run
        self._clock = clock
        self._backoff = Backoff(first=1.0, longest=60.0)
        self._well = False

    def begin(self) -> None:
        """Do the first round soon."""
        self._clock.callLater(self.BETWEEN, self._round)

    def _round(self) -> None:
        self._well = False
        try:
            with PreserveLoggingContext():  # not in the one that somebody has left behind
                over = self._run(self._name, self._once)
        except Exception as exc:  # noqa: BLE001 - such as a homeserver that is being shut down
            self._ended(exc)
            return
        self._watch(over)
        over.addBoth(self._ended)

    async def _once(self) -> None:
        await self._work()
        self._well = True

    def _ended(self, result: object) -> None:
        if self._well:
            self._backoff.reset()
            seconds = self.BETWEEN
        else:
            seconds = self._backoff.failed()
            logger.error(
                "A round of %s did not end well; the next one begins in %.0f s",
                self._name,
                seconds,
                exc_info=_exception(result),
            )
        self._clock.callLater(seconds, self._round)

    def _watch(self, over: "defer.Deferred[Any]") -> None:
        """Make sure that it ends."""

        def hangs() -> None:
            logger.error(
                "A round of %s has not ended in %.0f s, and is cancelled", self._name, self.LONGEST
            )
            self._watch(over)
            with suppress(Exception), PreserveLoggingContext():
                over.cancel()

        timer = self._clock.callLater(self.LONGEST, hangs)

        def ended(result: object) -> object:
            if timer.active():
                timer.cancel()
            return result

        over.addBoth(ended)


def _exception(result: object) -> BaseException | None:
    """Return what a round has raised, if Synapse has not written it down itself."""
    if isinstance(result, Failure):
        return result.value
    return result if isinstance(result, BaseException) else None


class Chore:
    """Work that is done whenever there is some, and never twice at the same time."""

    def __init__(self, background: Background, name: str, work: Work) -> None:
        """Make one. `work` returns when there is nothing left to do."""
        self._background = background
        self._name = name
        self._work = work
        self._at_work = False

    def wake(self) -> None:
        """Say that there is something to do."""
        if not self._at_work:
            self._at_work = True
            self._background.start(self._name, self._do)

    async def _do(self) -> None:
        try:
            await self._work()
        finally:
            self._at_work = False


class Backoff:
    """How long to wait after failures in a row: doubled each time, up to a limit, and spread.

    Spread, so that the processes of a homeserver do not all come back in the same moment.
    """

    def __init__(self, *, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        """Forget the failures."""
        self._next = self._first

    def failed(self, *, at_least: float | None = None) -> float:
        """Return how many seconds to wait after one more failure."""
        seconds = max(self._next, min(at_least or 0.0, self._longest))
        self._next = min(2 * self._next, self._longest)
        return seconds * random.uniform(0.6, 1.0)  # noqa: S311 - spread and not secret
