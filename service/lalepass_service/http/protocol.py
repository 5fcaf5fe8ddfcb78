"""What uvicorn leaves open: how long a caller may take for the head of a request, and how much.

Without this, a connection that never finishes its first line stays for ever, and a few hundred of
them close the service to everybody (https://en.wikipedia.org/wiki/Slowloris_(cyber_attack)). And
one read of the socket may hold fifteen thousand requests, which are all taken in at once. Who has
no token can ask slowly and without end as well: where there is no room left, those go first.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from starlette.types import Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from lalepass_service.core.errors import Overloaded
from lalepass_service.http.callers import KNOWN
from lalepass_service.http.limits import AT_ONCE
from lalepass_service.http.problems import answer_to
from lalepass_service.http.turnstile import Turnstile

MAX_HEAD_BYTES: Final = 32 * 1024
"""Counted as it comes in, so one read of the socket may go beyond it."""

MOST_AHEAD: Final = 4
"""Requests that may wait for the answer to the one before them. No client of ours sends any."""

_RETRY_SECONDS: Final = 1.0

_CLOSE: Final = b"connection: close\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, and a bound on the head of each request.

    A request's head is due from the moment the connection is made, and later from the first byte
    after an answer. Bytes that trickle in do not move the deadline. The body has its own bounds:
    see `limits.py`.
    """

    head_seconds: ClassVar[float] = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        # Ours replaces it: uvicorn's answer is no problem document.
        self._max_connections, self.limit_concurrency = self.limit_concurrency, None
        self._due: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0
        self._turned_away = False
        self._connected = False
        self._hang_up: Callable[[], None] = _nothing
        self._strangers = _STRANGERS.setdefault(self.server_state, {})
        self._turnstile = _TURNSTILES.setdefault(self.server_state, Turnstile(self.loop))
        self._known = False

    def arrive(self, hang_up: Callable[[], None]) -> None:
        """Take a place, which may be long before anything can be said.

        Whether there is room is decided now: those that are there go on, as a homeserver's do.

        Args:
            hang_up: ends the connection at once.
        """
        self._hang_up = hang_up
        self.connections.add(self)
        if self._max_connections and len(self.connections) > self._max_connections:
            self._turned_away = not self._make_room()
        self._strangers[self] = None

    def depart_unless_connected(self) -> None:
        """Give back the place of a handshake that has come to nothing."""
        if not self._connected:
            self._strangers.pop(self, None)
            self.connections.discard(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        """Start to wait for a head."""
        if self not in self.connections:
            self.arrive(transport.abort)
        super().connection_made(transport)
        self._connected = True
        # Not `close`, which waits for as long as somebody does not read what is left to send.
        self._hang_up = transport.abort
        self._expect_head()

    def shutdown(self) -> None:
        """End, as soon as what is being answered is."""
        if self._connected:
            super().shutdown()
        else:
            self._hang_up()

    def data_received(self, data: bytes) -> None:
        """Take in bytes, as long as they lead to a request."""
        if self._due is None and self.cycle.response_complete:
            self._expect_head()
        super().data_received(data)
        if self._due is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: everybody may ask for another protocol, and is answered in this one."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request; only hang up where it would pass for another answer."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            super().send_400_response(msg)
        elif self.pipeline or cycle.response_started or not cycle.more_body:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Start to take in a head.

        Raises:
            ValueError: too many wait already; the parser makes of it what it does of no HTTP.
        """
        if len(self.pipeline) >= MOST_AHEAD:
            raise ValueError("too many requests at once")
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; drop trailers, which nobody reads and nobody has counted."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Pass on a request whose head is there."""
        self._in_head = False
        # Anew with each request: a token may have been revoked since the one before.
        self._known = self not in self._strangers
        self._strangers.setdefault(self)
        self._forget_head()
        self.app = _turn_away if self._turned_away else self.config.loaded_app
        super().on_headers_complete()
        # Not of the shape that uvicorn declares for the extensions that it knows.
        extensions: dict[str, Any] = {
            AT_ONCE: partial(self._answer_at_once, self.cycle),
            KNOWN: partial(self._strangers.pop, self, None),
        }
        self.scope["extensions"] = extensions

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self._known:
            super()._start_asgi_task(cycle, app)
        else:
            self._turnstile.add(partial(self._start_unless_gone, cycle, app))

    def _start_unless_gone(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if not cycle.disconnected:
            super()._start_asgi_task(cycle, app)

    def _answer_at_once(
        self,
        cycle: RequestResponseCycle,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
    ) -> bool:
        """Write a whole answer in one piece; False if that can't be done now.

        uvicorn writes head and body one after the other, which are two system calls here, two
        packets, and two times that the caller wakes up.
        """
        if cycle.response_started or self.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        if not cycle.disconnected:
            lines = [b"%b: %b\r\n" % line for line in (*cycle.default_headers, *headers)]
            if _CLOSE in lines:
                cycle.keep_alive = False
            elif not cycle.keep_alive:
                lines.append(_CLOSE)
            self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
            if not cycle.keep_alive:
                self.transport.close()
        cycle.message_event.set()
        cycle.on_response()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._strangers.pop(self, None)
        self._forget_head()
        super().connection_lost(exc)

    def _make_room(self) -> bool:
        """Hang up on the stranger who came first; False if there is none.

        By when they came, and not by how long they have said nothing: who asks all the time for
        what everybody may ask would stay, and who waits for their first answer would go.
        """
        for first in self._strangers:
            del self._strangers[first]
            first._hang_up()  # noqa: SLF001 - one of us
            return True
        return False

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._due = self.loop.call_later(self.head_seconds, self.transport.close)

    def _forget_head(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


_STRANGERS: Final[WeakKeyDictionary[ServerState, dict[BoundedProtocol, None]]] = WeakKeyDictionary()
"""Of each server, the connections whose last request, if there was any, had no token that is known
to be good. The one that has been a stranger for longest is the first."""


_TURNSTILES: Final[WeakKeyDictionary[ServerState, Turnstile]] = WeakKeyDictionary()
"""Of each server, what those ask who showed no good token with the request before."""


def _nothing() -> None:
    pass


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    answer = answer_to(Overloaded(retry_after=_RETRY_SECONDS))
    answer.headers["Connection"] = "close"
    await answer(scope, receive, send)
