"""An endpoint that answers as the test says, in place of `transport.Transport`."""

import json
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers

from lalepass_provider.calls import Calls
from lalepass_provider.client import LalepassClient
from lalepass_provider.endpoints import Endpoints
from lalepass_provider.errors import TooSlow
from lalepass_provider.files import Fixed, Held
from lalepass_provider.health import Health
from lalepass_provider.metrics import Metrics
from lalepass_provider.transport import Answer, Request

TOKEN = "token-canary"

Script = Callable[[Request], Any]
"""Returns an Answer or a Deferred of one, or raises."""


def answer(
    status: int = 200, body: Any = None, *, kind: str = "application/json", **headers: str
) -> Answer:
    """Make an answer; a body that is not bytes is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    all_headers = {"Content-Type": kind} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Answer(status, Headers({name: [value] for name, value in all_headers.items()}), content)


def problem(status: int, code: str, retry_after: object = None) -> Answer:
    body = {"type": f"urn:lalepass:problem:{code}", "title": "", "status": status, "code": code}
    headers = {} if retry_after is None else {"Retry_After": str(retry_after)}
    return answer(status, body, kind="application/problem+json", **headers)


class ScriptedTransport:
    """Keeps what it was asked. Gives up after the seconds that it has, as the true one does."""

    def __init__(
        self, script: Script, *, clock: IReactorTime | None = None, name: str = "one:1"
    ) -> None:
        self.name = name
        self.script = script
        self.clock = clock or Clock()
        self.requests: list[Request] = []
        self.seconds: list[float] = []
        self.connect_seconds: list[float | None] = []
        self.dropped = 0

    def send(
        self, request: Request, *, seconds: float, connect_seconds: float | None = None
    ) -> "defer.Deferred[Answer]":
        self.requests.append(request)
        self.seconds.append(seconds)
        self.connect_seconds.append(connect_seconds)
        sent: defer.Deferred[Answer] = defer.maybeDeferred(self.script, request)

        def timed_out(_: object, __: float) -> Any:
            raise TooSlow(f"no answer within {seconds:g} s", begun=False)

        return sent.addTimeout(seconds, self.clock, onTimeoutCancel=timed_out)

    def drop_idle(self) -> "defer.Deferred[None]":
        self.dropped += 1
        return defer.succeed(None)


def health_of(*transports: ScriptedTransport, clock: IReactorTime) -> Health:
    many: list[Any] = list(transports)
    return Health(
        many,
        clock=clock,
        probe_seconds=1.0,
        metrics=Metrics(CollectorRegistry()),
        jitter=lambda: 1.0,
    )


def endpoints_of(*transports: ScriptedTransport) -> Endpoints:
    clock = transports[0].clock
    return Endpoints(health_of(*transports, clock=clock), clock=clock)


def calls_of(
    *transports: ScriptedTransport, token: Held[SecretStr] | None = None, max_in_flight: int = 4
) -> Calls:
    return Calls(
        endpoints=endpoints_of(*transports),
        token=token or Fixed(SecretStr(TOKEN)),
        deadline=5.0,
        max_in_flight=max_in_flight,
    )


def client_of(transport: ScriptedTransport | Script, *, max_in_flight: int = 4) -> LalepassClient:
    if not isinstance(transport, ScriptedTransport):
        transport = ScriptedTransport(transport)
    return LalepassClient(
        calls_of(transport, max_in_flight=max_in_flight), metrics=Metrics(CollectorRegistry())
    )
