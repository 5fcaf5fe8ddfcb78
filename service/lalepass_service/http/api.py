"""The API as one ASGI application, made of the ports that it needs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from lalepass_service.core.callers import CallerRegistry
from lalepass_service.core.guard import GuardedCheck
from lalepass_service.core.model import Scope
from lalepass_service.core.ports import Clock
from lalepass_service.http import caller as caller_route
from lalepass_service.http import check as check_route
from lalepass_service.http import feed as feed_routes
from lalepass_service.http import health, metrics, openapi, problems
from lalepass_service.http.access import AccessLog
from lalepass_service.http.callers import any_caller, caller_with
from lalepass_service.http.counters import Counters
from lalepass_service.http.direct import DirectCheck
from lalepass_service.http.limits import Limits
from lalepass_service.http.primaries import Primaries
from lalepass_service.http.replicas import Replicas
from lalepass_service.http.request_id import RequestId
from lalepass_service.http.trail import Trail
from lalepass_service.http.unforeseen import Unforeseen
from lalepass_wire import limits, paths

CONTRACT_VERSION: Final = "1.0"
"""Of the contract, not of the program: paths begin with its first number."""

_NO_TELEMETRY: Final[Any] = {
    # FastAPI's own hooks would hand bodies and exception texts to any OpenTelemetry provider that
    # happens to be installed. Both can hold a password.
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def build(  # noqa: PLR0913 - the ports, each by its name
    *,
    check: GuardedCheck,
    followers: feed_routes.Followers,
    registry: CallerRegistry,
    ready: Callable[[], Awaitable[None]],
    hasher: metrics.Hasher,
    trail: Callable[[], Trail],
    request_timeout: float,
    clock: Clock,
    service_version: str,
    counters: Counters | None = None,
    replicas: Replicas | None = None,
    figures: Sequence[metrics.Figure] = (),
    primaries: Primaries | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        check: decides about passwords.
        followers: tells homeservers what has changed, and takes what they report.
        registry: knows the callers.
        ready: finds out whether the service can do its work, within a time limit; raises NoAnswer.
        hasher: how busy it is, and whether it takes one more.
        trail: how the trail fares.
        request_timeout: seconds for one request, from its head to its answer. Who waits for
            changes has so much on top of the wait.
        clock: says what time it is here.
        service_version: which release this is.
        counters: how those fare that replicas share, if they share any.
        replicas: how reads from standbys fare, if there are any.
        figures: what else there is to show.
        primaries: which server is written to, if the database is on one.
    """
    counted = metrics.Metrics(hasher=hasher, trail=trail)
    counted.count_waiting(lambda: followers.waiting)
    if counters is not None:
        counted.watch_counters(counters)
    if replicas is not None:
        counted.watch_replicas(replicas)
    for figure in figures:
        counted.show(figure)
    if primaries is not None:
        counted.watch_primaries(primaries)
    app = _bare()
    asking = caller_with(Scope.CHECK, registry=registry)
    app.include_router(check_route.router(authenticate=asking))
    known = any_caller(registry=registry)
    app.include_router(
        caller_route.router(authenticate=known, clock=clock, service_version=service_version)
    )
    allowed = caller_with(Scope.FEED, registry=registry)
    app.include_router(feed_routes.router(followers=followers, authenticate=allowed))
    app.include_router(health.router(check=ready))
    app.include_router(metrics.router(counted))
    app.include_router(openapi.router(app.openapi))
    for error in problems.HANDLED:
        app.add_exception_handler(error, problems.handle)
    # The last one added is the outermost.
    app.add_middleware(Unforeseen)
    waits = {paths.CHANGES: float(limits.MAX_FEED_WAIT_SECONDS)}
    app.add_middleware(Limits, seconds=request_timeout, waits=waits)
    app.add_middleware(AccessLog, metrics=counted)
    app.add_middleware(RequestId)
    app.direct = DirectCheck(
        app.layered,
        check=check,
        registry=registry,
        metrics=counted,
        seconds=request_timeout,
        hasher=hasher,
    )
    return app


def _bare() -> "_Api":
    return _Api(
        title="Lalepass",
        version=CONTRACT_VERSION,
        description="Password authentication for Matrix homeservers.",
        # Ours answers: see `openapi.router`.
        openapi_url=None,
        # The pages would load scripts from somebody else's server.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )


class _Api(FastAPI):
    direct: DirectCheck
    """Stands in front of all layers."""

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        await self.direct(scope, receive, send)

    async def layered(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Answer what is no check."""
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        return openapi.document(self)
