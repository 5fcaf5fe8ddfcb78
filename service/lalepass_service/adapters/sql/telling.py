"""What the operator is told of the servers of an address."""

import logging
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from lalepass_service.adapters.sql.standing import NOTHING, Standing

_log: Final = logging.getLogger(__name__)


class _State(Enum):
    """How it stands, in one word."""

    ONE = auto()
    OLD_GOES_ON = auto()
    SPLIT = auto()
    OTHER = auto()
    ONLY_OLD = auto()
    NOBODY = auto()


class Teller:
    """Tells what is new, once."""

    def __init__(self, hosts: Sequence[str], *, most_left: int) -> None:
        """Take the names of the hosts, and how many transactions may wait for a standby."""
        self._hosts = hosts
        self._most_left = most_left
        self._told = _State.ONE
        self._next = _State.ONE
        self._before = NOTHING
        self._told_ahead: int | None = None

    def tell(self, standing: Standing) -> None:
        """Say what has changed since the last time."""
        before, self._before = self._before, standing
        self._tell_left(before, standing)
        self._tell_ahead(before, standing)
        if not standing.doubted:
            self._tell_state(standing)

    def _tell_state(self, standing: Standing) -> None:
        state, last = _state(standing), self._next
        self._next = state
        away = state in {_State.ONLY_OLD, _State.NOBODY}
        # A server that is busy for a moment is no news.
        if state is self._told or (away and state is not last):
            return
        self._told = state
        if state is _State.ONE:
            _log.warning(
                "there is one database server again that takes writes: %s",
                self._name(standing.host),
            )
        else:
            _log.error("%s", self._sentence(state, standing))

    def _sentence(self, state: _State, standing: Standing) -> str:
        writing = ", ".join(
            name for name, each in zip(self._hosts, standing.claims, strict=True) if each
        )
        old = ", ".join(
            name
            for name, each in zip(self._hosts, standing.claims, strict=True)
            if each and each.rank != standing.least
        )
        if state is _State.SPLIT:
            return (
                f"several database servers take writes ({writing}), and nothing tells which is the "
                "right one: nothing is changed until all but one are ended, or are standbys"
            )
        if state is _State.OTHER:
            return (
                f"{old} is of another installation (system {standing.other}) than the database "
                "known so far, of which a host does not answer: if it was restored there, restart "
                "this service"
            )
        if state is _State.OLD_GOES_ON:
            return (
                f"an old primary goes on ({old}) beside a newer one, and is not believed: end it; "
                f"the newer one is {self._name(standing.host)}"
            )
        if state is _State.ONLY_OLD:
            timeline = standing.least.timeline if standing.least is not None else 0
            return (
                f"the newest primary of the database (timeline {timeline}) does not answer, and an "
                f"older one ({old}) is not believed: there are no answers until the newest is "
                "back; if it is lost for good, take its host out of database.url and restart"
            )
        return "no database server answers that takes writes"

    def _tell_left(self, before: Standing, standing: Standing) -> None:
        if standing.left >= self._most_left > before.left:
            _log.error(
                "%d transactions wait for a standby of the database, and nobody waits for them any "
                "more: nothing is written until there are fewer",
                standing.left,
            )
        elif standing.left < self._most_left <= before.left:
            _log.warning("the database is written to again")

    def _tell_ahead(self, before: Standing, standing: Standing) -> None:
        """Name a standby that was promoted and made a standby again without `pg_rewind`."""
        seen_twice = standing.ahead == before.ahead and standing.up
        if standing.ahead is None:
            self._told_ahead = None
        elif seen_twice and standing.ahead != self._told_ahead:
            self._told_ahead = standing.ahead
            _log.warning(
                "%s is a standby that has a newer timeline than the only primary, %s, and can't "
                "follow it: make it anew",
                *(self._name(standing.ahead), self._name(standing.host)),
            )

    def _name(self, number: int | None) -> str:
        return "unknown" if number is None else self._hosts[number]


def _state(standing: Standing) -> _State:
    if standing.split:
        return _State.SPLIT if standing.other is None else _State.OTHER
    if standing.up:
        return _State.ONE if standing.writing == 1 else _State.OLD_GOES_ON
    return _State.ONLY_OLD if standing.writing else _State.NOBODY
