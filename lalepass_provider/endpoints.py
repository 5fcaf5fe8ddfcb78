"""Which endpoint of the service is asked next.

Several replicas of the service know the same accounts, so any of them will do. One that does not
answer is left alone (`health.py`). When none is left, people are not made to wait for a probe: each
call tries those that there are.

How often a request is sent:

* Nothing was sent (refused, no connection in time, TLS fault): any endpoint that is left is asked.
* It was sent, and not a byte of an answer came before the connection was lost or patience ended:
  once more, on another endpoint, or on the same if there is no other and the connection was lost.
  A check changes nothing but a budget, and the same password again is no new guess.
* A byte of an answer has come: never again. One exception is an answer in full, "overloaded",
  which the service gives before it hashes and for which it takes nothing off a budget. Then one
  other endpoint is asked, if it is well and not overloaded itself.
* Who insists, as the long polls of the feed do, which only read, asks once more in any case, over a
  new connection if there is no other endpoint: a peer may have vanished without a word.

Checks and calls in the background, such as long polls, do not see each other: each kind has its own
count of what is under way and its own view of who is to be left alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from twisted.internet.interfaces import IReactorTime

from lalepass_provider.errors import Lost, NoAnswer, NotConnected, Overloaded, TooSlow, Unreachable
from lalepass_provider.health import Endpoint, Health, Load, State
from lalepass_provider.transport import Answer, Request

T = TypeVar("T")

_BRIEF_CONNECT: Final = 0.5
"""Seconds for a connection to an endpoint that did not answer before, while others are left."""


@dataclass
class _Course:
    """How far one call has come."""

    end: float
    background: bool
    insist: bool
    tried: list[Endpoint] = field(default_factory=list)
    may_repeat: bool = True
    """What was sent may be sent once more."""
    only_well: bool = False
    """No other endpoint than one that is well is to be asked."""


class Endpoints:
    """The endpoints of one service."""

    def __init__(self, health: Health, *, clock: IReactorTime) -> None:
        """Take the endpoints from `health`; `clock` is Twisted's reactor."""
        self._health = health
        self._endpoints = health.endpoints
        self._clock = clock
        self._calls = 0

    async def ask(
        self,
        request: Request,
        read: Callable[[Answer], T],
        *,
        deadline: float,
        patience: float | None = None,
        background: bool = False,
        insist: bool = False,
    ) -> T:
        """Send a request to one endpoint after the other until one has answered.

        Args:
            request: what is asked.
            read: makes of an answer what is wanted, or raises NoAnswer.
            deadline: seconds for all of it.
            patience: after so many seconds without a byte of an answer, another endpoint is
                asked, if there is one that is well.
            background: it is no check, and nobody waits for it.
            insist: patience also ends where there is no other endpoint, or when a part of an answer
                has come, and the request is sent once more. For requests that only read.

        Raises:
            NoAnswer: the last one that there was.
        """
        course = _Course(self._clock.seconds() + deadline, background, insist)
        while True:
            endpoint = self._choose(course)
            if endpoint is None:
                raise Unreachable("there is no endpoint to ask")
            try:
                return await self._try(endpoint, request, read, course, patience)
            except (Unreachable, Overloaded) as exc:
                if not self._may_go_on(course, endpoint, exc):
                    raise

    async def aclose(self) -> None:
        """Stop probing and close the connections that are not in use."""
        self._health.stop()
        for endpoint in self._endpoints:
            await endpoint.transport.drop_idle()

    def _choose(self, course: _Course) -> Endpoint | None:
        """Return the one of those that are well that has the least to do, or any that is left."""
        left = self._left(course)
        well = self._taking_calls(left, course)

        def load(one: Endpoint) -> Load:
            return one.load(background=course.background)

        if well:
            return min(well, key=lambda one: (load(one).under_way, load(one).last_used))
        if course.only_well:
            return None
        # The one that says no at once delays nobody. So it may have come back unseen.
        return min(left, key=lambda one: (_rank(one, load(one)), load(one).last_used), default=None)

    def _left(self, course: _Course) -> list[Endpoint]:
        return [one for one in self._endpoints if one not in course.tried]

    def _taking_calls(self, some: Sequence[Endpoint], course: _Course) -> list[Endpoint]:
        now = self._clock.seconds()
        return [one for one in some if one.takes_calls(now, background=course.background)]

    def _may_go_on(self, course: _Course, endpoint: Endpoint, exc: NoAnswer) -> bool:
        """Note what came of a try, and say whether there is to be another."""
        course.tried.append(endpoint)
        if isinstance(exc, Overloaded):
            may, course.only_well = not course.only_well, True
        elif isinstance(exc, NotConnected):
            may = True
        else:
            lost = isinstance(exc, Lost)
            slow = isinstance(exc, TooSlow) and (course.insist or not exc.begun)
            may = course.may_repeat and (lost or slow)
            course.may_repeat = False
            again = may and (lost or course.insist)
            if again and not self._taking_calls(self._left(course), course):
                # Perhaps a kept connection that was closed while the request was on its way, as
                # happens when the service restarts. Then the others of that age are no better.
                endpoint.transport.drop_idle()
                course.tried.remove(endpoint)
        return may and self._clock.seconds() < course.end and self._choose(course) is not None

    async def _try(
        self,
        endpoint: Endpoint,
        request: Request,
        read: Callable[[Answer], T],
        course: _Course,
        patience: float | None,
    ) -> T:
        begun = self._clock.seconds()
        seconds = max(course.end - begun, 0.001)
        others = [one for one in self._left(course) if one is not endpoint]
        another = course.insist or self._taking_calls(others, course)
        if patience is not None and course.may_repeat and another:
            seconds = min(seconds, patience)
        brief = _BRIEF_CONNECT if others and endpoint.state is State.DOWN else None
        self._calls += 1
        load = endpoint.load(background=course.background)
        load.last_used = self._calls
        load.under_way += 1
        try:
            answer = await endpoint.transport.send(request, seconds=seconds, connect_seconds=brief)
            result = read(answer)
        except NoAnswer as exc:
            exc.endpoint = endpoint.name
            self._health.note(endpoint, exc, begun=begun, background=course.background)
            raise
        finally:
            load.under_way -= 1
        self._health.answered(endpoint, background=course.background)
        return result


def _rank(one: Endpoint, load: Load) -> tuple[bool, float, float]:
    """Say who is asked first of those who are all to be left alone: the smallest."""
    # Calls in the background rest after a failure, checks only as long as they were told to.
    rests_until = load.rests_until if load.failures else 0.0
    return one.state is State.DOWN, rests_until, one.took
