"""Some endpoints of a service that say what the test tells them to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lalepass_provider.errors import NoAnswer
from lalepass_provider.transport import Answer, Request
from lalepass_wire import paths
from tests.lalepass_provider.scripted import ScriptedTransport, answer, endpoints_of

CHECK = Request(method="POST", target="/check", headers={}, max_answer_bytes=1000)
NEVER = object()
DEADLINE = 5.0
PATIENCE = 3.0


@dataclass(frozen=True)
class Means:
    """An answer that came whole, and is read as this."""

    exc: NoAnswer


class Site:
    """Some endpoints, each with what it says to calls and to probes, now."""

    def __init__(self, *says: object) -> None:
        self.clock = Clock()
        self.says: list[object] = list(says)
        self.probes_get: list[object] = [answer(200, {"status": "ready"})] * len(says)
        self.transports = [
            ScriptedTransport(self._script(number), clock=self.clock, name=f"{number}:1")
            for number in range(len(says))
        ]
        self.endpoints = endpoints_of(*self.transports, clock=self.clock)

    def _script(self, number: int) -> Callable[[Request], Any]:
        def script(request: Request) -> Any:
            said = (self.probes_get if request.target != "/check" else self.says)[number]
            if isinstance(said, Exception):
                raise said.with_traceback(None)
            return defer.Deferred() if said is NEVER else said

        return script

    def begin(self, **options: Any) -> "defer.Deferred[int]":
        """Begin a call; it returns the status of the answer."""

        def read(said: Answer | Means) -> int:
            if isinstance(said, Means):
                raise said.exc
            return said.status

        return defer.Deferred.fromCoroutine(
            self.endpoints.ask(CHECK, read, deadline=DEADLINE, **{"patience": PATIENCE, **options})
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
        """Return how many calls each endpoint has got."""
        return [
            sum(request.target == "/check" for request in one.requests) for one in self.transports
        ]

    def probes(self) -> list[int]:
        return [
            sum(request.target == paths.HEALTH_READY for request in one.requests)
            for one in self.transports
        ]


OK = answer(200, {})
OTHER = answer(201, {})


def failure_of(call: "defer.Deferred[int]") -> object:
    """Return why a call has failed."""
    found: list[Failure] = []
    call.addErrback(found.append)
    return found[0].value
