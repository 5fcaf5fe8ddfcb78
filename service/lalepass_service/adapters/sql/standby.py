"""A thread with a connection to a standby, and whether that is of any use now.

What waits for the thread is read together: one look at where the primary is, which threads share
(`fence`), and one transaction on the standby. That begins with a look at how far the standby has
come, and each statement in it has a snapshot of its own, taken after that look. Behind a pooler,
too, all of it is one standby's.

A standby that is behind gets a few milliseconds to come there. Then the thread is out of use for a
while that grows, and tries by itself whether it is any good again: so what is wrong with a standby
costs one read a few milliseconds, and not each.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg

from lalepass_service.adapters.sql.connecting import OpenSession
from lalepass_service.adapters.sql.fence import Fence, Fences, NotUsed, Why, begin
from lalepass_service.adapters.sql.hot import Job, T, WorkThread
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.session import PostgresSession, Session
from lalepass_service.core.errors import StoreUnavailable

_PAUSES: Final = (0.001, 0.003, 0.008)
"""Seconds that a standby gets to come where the primary is."""

_PATIENCE: Final = 0.25
"""Seconds after which a read goes to the primary, which needs some of the caller's time, too."""

_FIRST_REST: Final = 0.1
_LONGEST_REST: Final = 5.0
_LAST_DOUBLING: Final = 9
_GOOD: Final = 10
"""How many rests long a standby has to be of use, for the next rest to be a short one again."""

_FRESH: Final = 900.0
"""Seconds after which a connection is made anew: so that a standby that was away gets its share."""

_LASTING: Final = 3
"""Tries without success after which it is worth a line in the log."""


class Lane:
    """A thread with a connection, and whether that is of any use now."""

    def __init__(self, fences: Fences, standbys: PostgresServer) -> None:
        self.thread: WorkThread[PostgresSession] = WorkThread(
            _Runner(fences, standbys), deadline=_PATIENCE
        )
        self.why: Why | None = Why.AWAY
        self._failed = asyncio.Event()

    async def read(self, work: Callable[[PostgresSession], T]) -> T:
        """Read from the standby.

        Raises:
            NotUsed: it did not answer, or could not be trusted to.
        """
        try:
            return await self.thread.ask(work, writes=False)
        except NotUsed as not_used:
            if not_used.why is not Why.FAILED:
                self._rest(not_used.why)
            raise
        except StoreUnavailable:
            self._rest(Why.AWAY)
            raise NotUsed(Why.AWAY) from None

    async def keep(
        self,
        tell: Callable[[Why | None], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Try whether the standby is of use, again and again with growing rests.

        Args:
            tell: is told that it is (None), and what is wrong with it if that lasts.
            sleep: rests for so many seconds.
        """
        loop = asyncio.get_running_loop()
        misses = 0
        while True:
            rest = min(_LONGEST_REST, _FIRST_REST * 2 ** min(misses, _LAST_DOUBLING))
            misses += 1
            if await self._tried():
                tell(None)
                began = loop.time()
                await self._failed.wait()
                if loop.time() - began >= _GOOD * rest:
                    misses = 0
            elif misses >= _LASTING or self.why is Why.NOT_PERMITTED:
                tell(self.why)
            await sleep(rest)

    async def _tried(self) -> bool:
        self._failed.clear()
        with suppress(NotUsed):
            await self.read(_nothing)
            self.why = None
        return self.why is None

    def _rest(self, why: Why) -> None:
        self.why = why
        self._failed.set()


def _nothing(_: Session) -> None:
    """Be a read for the sake of what comes before it."""


class _Runner:
    """Implements `hot.Runner`."""

    def __init__(self, fences: Fences, standbys: PostgresServer) -> None:
        self._fences = fences
        self._standbys = standbys
        self._open: OpenSession | None = None
        self._made = 0.0
        """When the connection was."""
        self._since: float | None = None
        """When those jobs were begun that run now."""
        self._never = threading.Event()

    def run(self, jobs: Sequence[Job[Any, Any]]) -> list[Any]:
        """Read for all of these in one transaction, or for none of them."""
        self._since = time.monotonic()
        try:
            wanted = self._fence()
            with _blaming(Why.AWAY):
                opened = self._connected()
                self._reach(opened, wanted)
                return _read(opened, jobs)
        except NotUsed as not_used:
            # The next try is for whichever standby answers then.
            self.close()
            return [NotUsed(not_used.why) for _ in jobs]
        finally:
            self._since = None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def interrupt(self, *, older: float) -> None:
        """Cut the connections: a server that has stopped would never answer."""
        since = self._since
        if since is None or time.monotonic() - since < older:
            return
        self._fences.cut(older=older)
        if (opened := self._open) is not None:
            opened.cut()

    def _fence(self) -> Fence:
        with _blaming(Why.NO_FENCE):
            return self._fences.now()

    def _connected(self) -> OpenSession:
        if time.monotonic() - self._made > _FRESH:
            self.close()
        if self._open is None:
            self._open = OpenSession.to(self._standbys)
            self._made = time.monotonic()
        return self._open

    def _reach(self, opened: OpenSession, wanted: Fence) -> None:
        """Begin a transaction that sees all that is before the fence.

        Raises:
            NotUsed: the standby is not there, or not of that history.
        """
        for pause in (*_PAUSES, None):
            why = begin(opened, wanted)
            if why is None:
                return
            opened.connection.execute("ROLLBACK")
            if why is not Why.LAGGING or pause is None:
                raise NotUsed(why)
            self._never.wait(pause)


def _read(opened: OpenSession, jobs: Sequence[Job[Any, Any]]) -> list[Any]:
    """Run these in the transaction, and end it.

    If the standby can't do one of them, the primary does it, and what comes behind. The connection
    is as good as before: an odd request must not keep others from it.

    Raises:
        psycopg.Error: the connection is lost.
    """
    outcomes: list[Any] = []
    for job in jobs:
        try:
            outcomes.append(job.work(opened.session))
        except psycopg.Error:
            outcomes += [NotUsed(Why.FAILED) for _ in jobs[len(outcomes) :]]
            break
        except Exception as error:  # noqa: BLE001 - its caller gets it; the thread goes on
            outcomes.append(error)
    # Fails where the connection is lost.
    opened.connection.execute("ROLLBACK")
    return outcomes


@contextmanager
def _blaming(why: Why) -> Iterator[None]:
    try:
        yield
    except NotUsed:
        raise
    except Exception as error:  # also what no server should say: the thread goes on
        raise NotUsed(why) from error
