"""Some endpoints of a service that say what the test tells them to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lalepass_provider.endpoints import Endpoints
from lalepass_provider.errors import NoAnswer
from lalepass_provider.health import State
from lalepass_provider.transport import Answer, Request
from lalepass_wire import paths
from tests.lalepass_provider.scripted import ScriptedTransport, answer, health_of

CHECK = Request(method="POST", target="/check", headers={}, max_answer_bytes=1000)
POLL = Request(method="GET", target="/changes", headers={}, max_answer_bytes=1000)
NEVER = object()
DEADLINE = 5.0
PATIENCE = 3.0


@dataclass(frozen=True)
class Means:
    """An answer that came whole, and is read as this."""

    exc: NoAnswer


class Site:
    """Some endpoints, each with what it says to checks, to polls and to probes, now."""

    def __init__(self, *says: object) -> None:
        self.clock = Clock()
        self.says: list[object] = list(says)
        self.probes_get: list[object] = [answer(200, {"status": "ready"})] * len(says)
        self.polls_get: list[object] = [answer(200, {})] * len(says)
        self.transports = [
            ScriptedTransport(self._script(number), clock=self.clock, name=f"{number}:1")
            for number in range(len(says))
        ]
        self.health = health_of(*self.transports, clock=self.clock)
        self.endpoints = Endpoints(self.health, clock=self.clock)

    def _script(self, number: int) -> Callable[[Request], Any]:
        def script(request: Request) -> Any:
            kinds = {CHECK.target: self.says, POLL.target: self.polls_get}
            said = kinds.get(request.target, self.probes_get)[number]
            if isinstance(said, Exception):
                raise said.with_traceback(None)
            return defer.Deferred() if said is NEVER else said

        return script

    def begin(self, **options: Any) -> "defer.Deferred[int]":
        """Begin a check; it returns the status of the answer."""
        return self._begin(CHECK, **{"patience": PATIENCE, **options})

    def poll(self, **options: Any) -> "defer.Deferred[int]":
        """Begin a long poll."""
        return self._begin(POLL, background=True, **options)

    def _begin(self, request: Request, **options: Any) -> "defer.Deferred[int]":
        def read(said: Answer | Means) -> int:
            if isinstance(said, Means):
                raise said.exc
            return said.status

        return defer.Deferred.fromCoroutine(
            self.endpoints.ask(request, read, deadline=DEADLINE, **options)
        )

    def ask(self) -> int | NoAnswer:
        """Return what came of a call that ends at once."""
        results: list[Any] = []
        self.begin().addBoth(results.append)
        (result,) = results
        if isinstance(result, Failure):
            assert isinstance(result.value, NoAnswer)
            return result.value
        return int(result)

    def calls(self) -> list[int]:
        """Return how many checks each endpoint has got."""
        return self._count(CHECK.target)

    def states(self) -> list[State]:
        """Return how each endpoint is taken to be."""
        return [one.state for one in self.health.endpoints]

    def polls(self) -> list[int]:
        return self._count(POLL.target)

    def probes(self) -> list[int]:
        return self._count(paths.HEALTH_READY)

    def _count(self, target: str) -> list[int]:
        return [
            sum(request.target == target for request in one.requests) for one in self.transports
        ]


OK = answer(200, {})
OTHER = answer(201, {})


def failure_of(call: "defer.Deferred[int]") -> object:
    """Return why a call has failed."""
    found: list[Failure] = []
    call.addErrback(found.append)
    return found[0].value
