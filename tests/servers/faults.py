"""A stretch of network on loopback, with the faults that networks have."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Final, Self

from tools.processes import LOOPBACK, free_port

_CHUNK: Final = 64 * 1024
_BACKLOG: Final = 256
_SECONDS: Final = 10.0


class _Fault(Enum):
    NONE = auto()
    # nobody listens
    REFUSED = auto()
    # connections are made and reset at once
    RESET = auto()
    # connections are made, take what is sent, and are silent
    HALF_OPEN = auto()
    # no connection can be made, and those that are there are silent: the other machine is gone
    GONE = auto()
    # questions go through, answers only so far
    CUT = auto()


_SILENT: Final = frozenset({_Fault.HALF_OPEN, _Fault.GONE})


class Link:
    """Takes connections on `port` and passes them on to a server's port, for as long as entered.

    A fault is for new connections and for those that are there already. A new fault replaces the
    one before. All of its methods may be called from any thread.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.delay = 0.0
        """Seconds that everything takes, in each direction."""
        self.cuts = 0
        """How many answers were cut."""
        self.connections = 0
        """How many connections were made so far."""
        self._target = target
        self._fault = _Fault.NONE
        self._after = 0
        self._marker = b""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._listening: list[socket.socket] = []
        self._open: dict[asyncio.Task[None], _Connection] = {}

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        self._do(self._change(_Fault.NONE))
        return self

    def __exit__(self, *_: object) -> None:
        """End every connection, and the thread."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=_SECONDS)
        self._loop.close()

    def heal(self) -> None:
        """Be without a fault and without delay. Connections that have lost something are reset."""
        self.delay = 0.0
        self._do(self._change(_Fault.NONE))

    def refuse(self) -> None:
        """Refuse new connections and reset the others."""
        self._do(self._change(_Fault.REFUSED))

    def reset(self) -> None:
        """Reset each connection as soon as it is made, and those that are there."""
        self._do(self._change(_Fault.RESET))

    def reset_once(self) -> None:
        """Reset those that are there, and be without a fault for new ones."""
        self._do(self._change(_Fault.RESET))
        self._do(self._change(_Fault.NONE))

    def half_open(self) -> None:
        """Take what is sent, and let nothing through; neither side hears that the other is gone."""
        self._do(self._change(_Fault.HALF_OPEN))

    def lose(self) -> None:
        """Be silent like `half_open`, and to new connections, too, which are never made."""
        self._do(self._change(_Fault.GONE))

    def lead_to(self, target: int) -> None:
        """Pass new connections on to another port, as a name that was given to another server."""
        self._target = target

    def cut_answers(self, *, after: int = 0, marker: bytes = b"") -> None:
        """Let questions through, and reset the connection after so many bytes of the answer.

        With a `marker`, only connections on which a question had it are concerned, from then on.
        """
        self._after, self._marker = after, marker
        self._do(self._change(_Fault.CUT))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=_SECONDS)

    async def _change(self, fault: _Fault) -> None:
        self._close_doors()
        before, self._fault = self._fault, fault
        if fault in {_Fault.REFUSED, _Fault.RESET} or (before in _SILENT and fault not in _SILENT):
            await self._reset_all()
        for connection in self._open.values():
            connection.begin(self._marker if fault is _Fault.CUT else None, self._after)
        if fault is _Fault.GONE:
            self._block_door()
        elif fault is not _Fault.REFUSED:
            self._open_door()

    async def _end(self) -> None:
        self._close_doors()
        await self._reset_all()

    def _open_door(self) -> None:
        door = socket.create_server((LOOPBACK, self.port), backlog=_BACKLOG)
        door.setblocking(False)  # noqa: FBT003 - its only argument
        self._loop.add_reader(door, self._accept, door)
        self._listening = [door]

    def _block_door(self) -> None:
        """Listen with a queue that is full: the system drops further attempts to connect."""
        door = socket.create_server((LOOPBACK, self.port), backlog=0)
        self._listening = [door]
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)  # noqa: FBT003 - its only argument
            filler.connect_ex((LOOPBACK, self.port))
            self._listening.append(filler)

    def _close_doors(self) -> None:
        while self._listening:
            door = self._listening.pop()
            self._loop.remove_reader(door)
            door.close()

    def _accept(self, door: socket.socket) -> None:
        # Accepted here and not by the loop, which would lose a connection that comes in the moment
        # in which it is told to stop.
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = door.accept()
            self.connections += 1
            connection = _Connection(client, self)
            connection.begin(self._marker if self._fault is _Fault.CUT else None, self._after)
            task = self._loop.create_task(connection.run(self._target))
            self._open[task] = connection
            # Not at the end of the task: one that is cancelled before it has begun has no end.
            task.add_done_callback(self._forget)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._open.pop(task).close()

    async def _reset_all(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            self._open[task].lost = True
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # for the callbacks
        await asyncio.sleep(0)

    @property
    def fault(self) -> _Fault:
        """What is wrong now; for the connections."""
        return self._fault


class _Connection:
    """A client's connection, and ours to the server on its behalf."""

    def __init__(self, client: socket.socket, link: Link) -> None:
        client.setblocking(False)  # noqa: FBT003 - its only argument
        self.lost = False
        """Whether its ends are to be told that it was reset."""
        self._client = client
        self._server = socket.socket()
        self._server.setblocking(False)  # noqa: FBT003 - its only argument
        self._link = link
        self._marker: bytes | None = None
        self._left = 0
        self._asked = b""
        for side in (self._client, self._server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begin(self, marker: bytes | None, after: int) -> None:
        """Cut what is answered to a question with this marker; nothing if it is None."""
        self._marker, self._left, self._asked = marker, after, b""

    async def run(self, target: int) -> None:
        """Serve it to its end."""
        if self._link.fault is _Fault.RESET:
            self.lost = True
            return
        loop = asyncio.get_running_loop()
        try:
            if self._link.fault is not _Fault.HALF_OPEN:
                await loop.sock_connect(self._server, (LOOPBACK, target))
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(self._client, self._server, self._question))
                if self._link.fault is not _Fault.HALF_OPEN:
                    both.create_task(self._pump(self._server, self._client, self._answer))
        except* OSError:
            # One side has reset it, or there is no server: the other side hears the same.
            self.lost = True

    def close(self) -> None:
        """Close both sides."""
        for side in (self._client, self._server):
            if self.lost:
                # socket(7): closed with a reset, whatever there is still to be sent
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.close()

    async def _pump(
        self, source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(source, _CHUNK)
            if self._link.delay:
                await asyncio.sleep(self._link.delay)
            if self._link.fault in _SILENT:
                if not data:
                    # It has gone, and the other side is not to hear of it.
                    await loop.create_future()
                continue
            data_or_less = change(data)
            await loop.sock_sendall(sink, data_or_less)
            if len(data_or_less) < len(data):
                self._link.cuts += 1
                raise ConnectionResetError
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return

    def _question(self, data: bytes) -> bytes:
        if self._marker:
            # It may come in two pieces.
            self._asked = self._asked[-len(self._marker) :] + data
            if self._marker in self._asked:
                self._marker = b""
        return data

    def _answer(self, data: bytes) -> bytes:
        if self._marker != b"":
            return data
        passed = data[: self._left]
        self._left -= len(passed)
        return passed
