"""No request is longer, and none takes longer, than it may."""

import asyncio
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lalepass_service.http.errors import (
    AnswerTooSlow,
    BodyTooLarge,
    CallerGone,
    RequestTooSlow,
)
from lalepass_service.http.problems import answer_to
from lalepass_wire.limits import MAX_REQUEST_BYTES

_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CLOSE: Final = (b"connection", b"close")

AT_ONCE: Final = "lalepass.answer_at_once"
"""An extension of ASGI, in `scope["extensions"]` where the server has it: takes status, headers and
body of an answer, and says whether it has been sent."""


class Limits:
    """ASGI middleware: caps the body of a request, and the time for all of it.

    The cap takes effect where the body is read, which is after the caller has been recognised: a
    stranger learns nothing, not even that a body is too long.
    """

    def __init__(
        self, app: ASGIApp, *, seconds: float, waits: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        """Make the limits.

        Args:
            app: what answers.
            seconds: for one request, from its head to its answer.
            waits: how many seconds more the requests to a path have, which wait for something on
                purpose.
        """
        self._app = app
        self._seconds = seconds
        self._waits = waits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a deadline."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(reversed(scope["headers"]))
        exchange = Exchange(headers, receive=receive, send=send)
        try:
            async with asyncio.timeout(self._seconds + self._waits.get(scope["path"], 0.0)):
                await self._app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            # Half an answer can't be taken back: then the server hangs up.
            if not exchange.answered:
                await answer_to(late(exchange))(scope, exchange.receive, exchange.send)


class Exchange:
    """One request and its answer, and how much of each has passed."""

    def __init__(self, headers: Mapping[bytes, bytes], *, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._declared = _declared_length(headers)
        self._received = 0
        self._complete = self._declared == 0
        self.waiting = False
        self.answered = False

    async def receive(self) -> Message:
        """Receive, within the cap.

        Raises:
            BodyTooLarge: the body is longer than the contract allows.
        """
        if self._declared is not None and self._declared > MAX_REQUEST_BYTES:
            raise BodyTooLarge
        self.waiting = not self._complete
        message = await self._receive()
        self.waiting = False
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        if self._received > MAX_REQUEST_BYTES:
            raise BodyTooLarge
        return message

    async def send(self, message: Message) -> None:
        """Send, and say that the connection ends where the rest of the body is not wanted."""
        if message["type"] == "http.response.start":
            self.answered = True
            if not self._complete and self._rest_is_unwanted():
                message["headers"] = [*message.get("headers", ()), _CLOSE]
        await self._send(message)

    async def answer(
        self, scope: Scope, status: int, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """Send a whole answer, in one piece if the server can do that."""
        at_once = scope.get("extensions", {}).get(AT_ONCE)
        if at_once is not None:
            close = [_CLOSE] if not self._complete and self._rest_is_unwanted() else []
            self.answered = True
            if at_once(status, [*headers, *close], body):
                return
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def _rest_is_unwanted(self) -> bool:
        """Whether to hang up instead of reading on: the rest is too long, endless or late."""
        return self.waiting or self._declared is None or self._declared > MAX_REQUEST_BYTES


def late(exchange: Exchange) -> RequestTooSlow | AnswerTooSlow:
    """Say whose fault it is that the time is over."""
    return RequestTooSlow() if exchange.waiting else AnswerTooSlow()


def _declared_length(headers: Mapping[bytes, bytes]) -> int | None:
    """Return how long the body says that it is; None if it does not say."""
    if b"transfer-encoding" in headers:
        return None
    length = headers.get(b"content-length", b"0")
    return int(length) if _LENGTH.fullmatch(length) else None


async def read_body(receive: Receive) -> bytes:
    """Read a whole body; `Limits` sees to it that it ends.

    Raises:
        BodyTooLarge: it is longer than the contract allows.
        CallerGone: the caller hung up.
    """
    chunks = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)
