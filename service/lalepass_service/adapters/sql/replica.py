"""Reads of checks from standbys, each as good as one from the primary at that moment.

A few threads with a connection each, to whichever standby answers. What waits for a thread is read
together: one look at where the primary is, shared by the threads (`fence`), one transaction on the
standby. That begins with a look at how far the standby has come, and each statement in it has a
snapshot of its own, taken after that look. Behind a pooler, too, all of it is one standby's.

A standby that is behind gets a few milliseconds to come there. Then the primary answers, and the
thread is out of use for a while that grows, and tries by itself whether it is any good again: so
what is wrong with a standby costs one read a few milliseconds, and not each.
"""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from lalepass_service.adapters.sql.fence import Fence, Fences, NotUsed, Why, begin
from lalepass_service.adapters.sql.hot import Job, Reads, T, WorkThread
from lalepass_service.adapters.sql.postgres import OpenSession, PostgresServer
from lalepass_service.adapters.sql.session import PostgresSession, Session
from lalepass_service.core.errors import StoreUnavailable

_log: Final = logging.getLogger(__name__)

_PAUSES: Final = (0.001, 0.003, 0.008)
"""Seconds that a standby gets to come where the primary is."""

_PATIENCE: Final = 0.25
"""Seconds after which a read goes to the primary, which needs some of the caller's time, too."""

_FIRST_REST: Final = 0.1
_LONGEST_REST: Final = 5.0

_FRESH: Final = 900.0
"""Seconds after which a connection is made anew: so that a standby that was away gets its share."""

_LASTING: Final = 3
"""Tries without success after which it is worth a line in the log."""

_SAID: Final[Mapping[Why, str]] = {
    Why.AWAY: "it does not answer",
    Why.LAGGING: "it is behind",
    Why.PROMOTED: "it is a primary itself",
    Why.NOT_FOLLOWING: "it receives nothing from a primary",
    Why.OTHER_TIMELINE: "it follows another timeline than the primary's",
    Why.OTHER_DATABASE: "it has another database",
    Why.NOT_PERMITTED: "it may not tell us what it follows; run GRANT pg_read_all_stats TO {role}",
    Why.NO_FENCE: "the primary does not answer",
}


class ReplicaReads:
    """Implements `Reads`: on a standby if that is as good, and on the primary otherwise."""

    def __init__(self, primary: Reads, *, of: PostgresServer, standbys: PostgresServer) -> None:
        """Start the threads, inside of the event loop that they belong to.

        Args:
            primary: where to read what no standby can tell.
            of: the same primary, to be asked where it is.
            standbys: one address for all of them; how many `connections` there are.
        """
        self._primary = primary
        self._role = conninfo_to_dict(standbys.url).get("user")
        self._fences = Fences(of)
        self._lanes = deque(_Lane(self._fences, standbys) for _ in range(standbys.connections))
        self._keeping = [asyncio.create_task(each.keep(self._tell)) for each in self._lanes]
        self._told: Why | None = None
        self._used = 0
        self._passed: Counter[Why] = Counter()

    @property
    def up(self) -> int:
        """How many connections to standbys are in use."""
        return sum(each.why is None for each in self._lanes)

    @property
    def used(self) -> int:
        """How many reads a standby has answered."""
        return self._used

    @property
    def passed(self) -> Mapping[str, int]:
        """How many reads the primary has answered, and why."""
        return {why.value: self._passed[why] for why in Why}

    @property
    def fences(self) -> int:
        """How often the primary was asked where it is."""
        return self._fences.asked

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run a function that only reads. It may run more than once.

        Raises:
            StoreUnavailable: the primary did not answer either, or not in time.
        """
        self._lanes.rotate(1)
        lane = min(self._lanes, key=lambda each: (each.why is not None, each.thread.queued))
        why = lane.why
        if why is None:
            try:
                done = await lane.read(work)
            except NotUsed as not_used:
                why = not_used.why
            else:
                self._used += 1
                return done
        self._passed[why] += 1
        return await self._primary.read(work)

    async def close(self) -> None:
        """Finish what is queued and end the threads."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await asyncio.gather(*(each.thread.close() for each in self._lanes))
        self._fences.close()

    def _tell(self, why: Why | None) -> None:
        """Tell the operator what lasts, once."""
        before, self._told = self._told, why
        if why == before:
            return
        if why is None:
            _log.info("a read replica is used again")
        else:
            _log.warning("a read replica is not used: %s", _SAID[why].format(role=self._role))


class _Lane:
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

    async def keep(self, tell: Callable[[Why | None], None]) -> None:
        """Try whether the standby is of use, again and again with growing rests."""
        loop = asyncio.get_running_loop()
        misses = 0
        while True:
            rest = min(_LONGEST_REST, _FIRST_REST * 2 ** min(misses, 9))
            if await self._tried():
                tell(None)
                began = loop.time()
                await self._failed.wait()
                misses = 0 if loop.time() - began > 10 * rest else misses + 1
            else:
                misses += 1
                if misses >= _LASTING or self.why is Why.NOT_PERMITTED:
                    tell(self.why)
            await asyncio.sleep(rest)

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
