"""A door between a homeserver and its Lalepass service that can be told to misbehave.

Counts the checks that pass, so that "nothing was asked" is a fact and no guess. Runs on a thread
and an event loop of its own.
"""

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Any, Final, Self

from tools.processes import LOOPBACK

_CHECK: Final = b"POST /v1/credentials/check "
_TOKEN_ID: Final = re.compile(rb"(Bearer lalepass_)[0-9a-f]{12}")
_TURNS: Final = 10
_CHUNK: Final = 64 * 1024


class Mode(Enum):
    """What happens to a connection."""

    # goes through to the service
    OPEN = auto()
    # is refused: nobody listens
    SHUT = auto()
    # is accepted and read, and never answered
    HUNG = auto()
    # is answered with something that is no HTTP
    GARBAGE = auto()
    # goes through, with a token that the service does not know
    WRONG_TOKEN = auto()
    # is never made: whoever tries to connect hears nothing, as behind a firewall that drops
    BLACK_HOLE = auto()
    # is answered with a head that comes a byte at a time and has no end
    SLOW_HEADER = auto()
    # is answered with a body that comes a byte at a time
    DRIPPING_BODY = auto()
    # is answered with a body that has no end
    ENDLESS_BODY = auto()
    # is answered by something that does not speak TLS; for a gate that does
    TLS_FAULT = auto()
    # shows a certificate of somebody else's; for a gate that speaks TLS
    WRONG_CERTIFICATE = auto()
    # is answered with HTTP, at once and in full, and with nothing that makes sense
    ERROR_500 = auto()
    HTML = auto()
    REDIRECT = auto()
    GARBAGE_JSON = auto()
    WRONG_SCHEMA = auto()


def _http(status: str, kind: str, body: bytes, *more: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more)
    return "\r\n".join((*lines, "", "")).encode() + body


_ANSWERS: Final = {
    Mode.GARBAGE: b"\x16\x03\x01 this is not the protocol you are looking for\r\n\r\n",
    Mode.TLS_FAULT: b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    Mode.ERROR_500: _http("500 Internal Server Error", "text/plain", b"it broke"),
    Mode.HTML: _http("200 OK", "text/html", b"<html><h1>It works!</h1></html>"),
    Mode.REDIRECT: _http("302 Found", "text/plain", b"", "Location: http://127.0.0.1:1/"),
    Mode.GARBAGE_JSON: _http("200 OK", "application/json", b'{"result": "accep'),
    Mode.WRONG_SCHEMA: _http("200 OK", "application/json", b'{"auth": {"success": true}}'),
}
_BEGINNINGS: Final = {
    Mode.SLOW_HEADER: (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    Mode.DRIPPING_BODY: (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b" "),
    Mode.ENDLESS_BODY: (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"4000\r\n" + b" " * 0x4000 + b"\r\n",
    ),
}
"""How an answer begins, and what comes again and again after that."""
_DRIP: Final = 0.05


@dataclass(frozen=True)
class GateTls:
    """How a gate speaks TLS."""

    context: ssl.SSLContext
    wrong: ssl.SSLContext
    """With a certificate that nobody should trust."""


class Gate:
    """Listens on loopback for as long as it is entered."""

    def __init__(self, target_port: int, *, tls: GateTls | None = None) -> None:
        self.port = 0
        self._tls = tls
        self._hole: list[socket.socket] = []
        self.checks = 0
        """How many checks have arrived, whatever became of them."""
        self.lost = b""
        """A connection on which this comes is cut, and nothing of it goes on to the service."""
        self.losses = 0
        """How often that has happened."""
        self.delay = 0.0
        """Seconds before a request goes on to the service."""
        self._target_port = target_port
        self._cuts = 0
        self._mode = Mode.OPEN
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        """Begin to listen, on a free port."""
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every connection and the thread."""
        self._do(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    @property
    def url(self) -> str:
        """What the provider is told to ask."""
        if self._tls is not None:
            return f"https://localhost:{self.port}"
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def mode(self) -> Mode:
        """What happens to connections now."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        """Change it, for the connections that are open as well: they are cut."""
        self._do(self._change(mode))

    def cut_silently(self) -> None:
        """Let nothing through on the connections that are open, and tell neither end.

        As when a cable is cut or a machine loses its power: new connections are another matter.
        """
        self._do(self._cut())

    async def _cut(self) -> None:
        self._cuts += 1

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, LOOPBACK, self.port, ssl=self._context()
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def _context(self) -> ssl.SSLContext | None:
        if self._tls is None or self._mode is Mode.TLS_FAULT:
            return None
        return self._tls.wrong if self._mode is Mode.WRONG_CERTIFICATE else self._tls.context

    def _dig(self) -> None:
        """Listen with a queue that is full: the kernel drops further attempts to connect."""
        full = socket.socket()
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((LOOPBACK, self.port))
        full.listen(0)
        fillers = [socket.socket() for _ in range(2)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex((LOOPBACK, self.port))
        self._hole = [full, *fillers]

    async def _shut(self) -> None:
        while self._hole:
            self._hole.pop().close()
        if self._server is not None:
            # A server that is closed between the arrival of a connection and its being handed over
            # drops it half made, which is a warning. So nothing more arrives, and the rest is made.
            for listening in self._server.sockets:
                self._loop.remove_reader(listening.fileno())
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        # A connection that the system had accepted already is handed over a few turns later.
        for _ in range(_TURNS):
            connections = list(self._connections)
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
            await asyncio.sleep(0)

    async def _change(self, mode: Mode) -> None:
        await self._shut()
        self._mode = mode
        if mode is Mode.BLACK_HOLE:
            self._dig()
        elif mode is not Mode.SHUT:
            await self._listen()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Closed by the end of the task and not within it: one that is cancelled before it has
        # begun runs none of its own code.
        task = asyncio.ensure_future(self._serve_quietly(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: writer.close())

    async def _serve_quietly(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.CancelledError):
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.HUNG:
            await _pump(reader, None, self._noted)
        elif self._mode in _BEGINNINGS:
            self._noted(await reader.read(_CHUNK))
            await self._go_on(writer, *_BEGINNINGS[self._mode])
        elif self._mode in _ANSWERS:
            while data := await reader.read(_CHUNK):
                self._noted(data)
                writer.write(_ANSWERS[self._mode])
                await writer.drain()
                if self._mode in {Mode.GARBAGE, Mode.TLS_FAULT}:
                    break
        else:
            await self._forward(reader, writer)

    async def _go_on(self, writer: asyncio.StreamWriter, beginning: bytes, more: bytes) -> None:
        writer.write(beginning)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(_DRIP if len(more) == 1 else 0)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_service, to_service = await asyncio.open_connection(LOOPBACK, self._target_port)
        before = self._cuts

        async def uncut() -> None:
            if self._cuts != before:
                # until the connection is closed with all others
                await self._loop.create_future()

        there = asyncio.create_task(_pump(reader, to_service, self._noted, uncut, self.delay))
        back = asyncio.create_task(_pump(from_service, writer, lambda data: data, uncut))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            await uncut()
        finally:
            there.cancel()
            back.cancel()
            # Before the wait, in which this may be cancelled a second time.
            to_service.close()
            await asyncio.gather(there, back, return_exceptions=True)

    def _noted(self, data: bytes) -> bytes:
        if self.lost and self.lost in data:
            self.losses += 1
            raise ConnectionAbortedError
        self.checks += data.count(_CHECK)
        if self._mode is Mode.WRONG_TOKEN:
            return _TOKEN_ID.sub(rb"\g<1>000000000000", data)
        return data


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter | None,
    change: Callable[[bytes], bytes],
    uncut: Callable[[], Awaitable[None]] | None = None,
    delay: float = 0.0,
) -> None:
    while data := await reader.read(_CHUNK):
        if uncut is not None:
            await uncut()
        changed = change(data)
        if writer is not None:
            await asyncio.sleep(delay)
            writer.write(changed)
            await writer.drain()
