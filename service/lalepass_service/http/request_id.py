"""One id in the caller's log, in our log and in the answer."""

import random
import re
from collections.abc import Iterable
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lalepass_wire.limits import REQUEST_ID_HEADER, REQUEST_ID_PATTERN

_HEADER: Final = REQUEST_ID_HEADER.lower().encode()
_WELL_FORMED: Final = re.compile(REQUEST_ID_PATTERN)


class RequestId:
    """ASGI middleware: takes over a well-formed id, or makes one, and puts it into every log line.

    It should be the outermost, so that all the others log with it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = given_id(scope["headers"]) or new_id()
        scope.setdefault("state", {})["request_id"] = request_id

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, labelled)


def new_id() -> str:
    """Return an id that no other request has. It is no secret: any chance will do."""
    return f"{random.getrandbits(128):032x}"


def given_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the id that a request came with, if it is one."""
    given = [value.decode("latin-1") for name, value in headers if name == _HEADER]
    # Two ids are none: which of them would the reader of a log look for?
    return given[0] if len(given) == 1 and _WELL_FORMED.fullmatch(given[0]) else None
