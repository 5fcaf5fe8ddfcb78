"""Reads of checks from standbys, each as good as one from the primary at that moment.

A few threads have a connection each, to whichever standby answers (`standby`). What none of them
can answer, the primary does.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from psycopg.conninfo import conninfo_to_dict

from lalepass_service.adapters.sql.fence import Fences, NotUsed, Why
from lalepass_service.adapters.sql.hot import Reads, T
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.standby import Lane

_log: Final = logging.getLogger(__name__)

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
        self._lanes = deque(Lane(self._fences, standbys) for _ in range(standbys.connections))
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
