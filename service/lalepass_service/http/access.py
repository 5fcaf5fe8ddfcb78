"""One line and one count for each request.

Never a body, a header or a raw path, and never who is being checked: a person may type the
password into the field for the name, so identifiers are not for logs.
"""

import logging
import time
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lalepass_service.http.metrics import Metrics
from lalepass_wire import paths

_log: Final = structlog.stdlib.get_logger(__name__)
_QUIET: Final = frozenset({paths.HEALTH_LIVE, paths.HEALTH_READY, paths.METRICS, paths.CHANGES})
"""Asked all the time by machines; shown at DEBUG."""


class AccessLog:
    """ASGI middleware: logs and counts requests."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and write down how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status: int | None = None

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        state = scope.setdefault("state", {})
        began = time.perf_counter()
        try:
            await self._app(scope, receive, watched)
        finally:
            write_down(
                self._metrics,
                method=scope["method"],
                route=getattr(scope.get("route"), "path", None),
                status=status,
                seconds=time.perf_counter() - began,
                caller=state.get("caller"),
            )


def write_down(
    metrics: Metrics,
    *,
    method: str,
    route: str | None,
    status: int | None,
    seconds: float,
    caller: str | None,
) -> None:
    """Count a request that has ended, and log it."""
    metrics.requests.labels(route=route or "none", status=status or "none").inc()
    level = logging.DEBUG if route in _QUIET else logging.INFO
    # Asked before structlog takes the line apart, only to drop it.
    if logging.getLogger(__name__).isEnabledFor(level):
        _log.log(
            level,
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            caller=caller,
        )
