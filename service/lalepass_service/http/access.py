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
            route = getattr(scope.get("route"), "path", None)
            self._metrics.requests.labels(route=route or "none", status=status or "none").inc()
            _log.log(
                logging.DEBUG if route in _QUIET else logging.INFO,
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round((time.perf_counter() - began) * 1000, 1),
                caller=state.get("caller"),
            )
