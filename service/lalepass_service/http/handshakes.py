"""TLS connections are taken in here, so that a handshake has an end, and takes a place.

asyncio's servers tell of a connection when its handshake is over. Until then, which is a minute if
nothing is said, it would count nowhere, and hundreds of those who never say anything use up the
files that the process may have: nobody else would be taken in.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from lalepass_service.http.protocol import BoundedProtocol

_log: Final = structlog.stdlib.get_logger(__name__)

HANDSHAKE_SECONDS: Final = 10.0
"""From the first packet to the last: three round trips, and a signature on both sides."""

CLOSE_SECONDS: Final = 10.0
"""For what is left to send when we hang up, and for the other side to say that it has heard it."""

_AT_A_TIME: Final = 64
"""Connections that are taken in one turn of the loop: the others wait for theirs in the backlog."""

_PAUSE_SECONDS: Final = 0.5
"""After nobody could be taken in. The socket would go on saying that somebody is there."""


class TlsListener:
    """Takes in connections, as `loop.create_server` does, and counts them from their beginning."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        context: ssl.SSLContext,
        protocol: Callable[[], BoundedProtocol],
    ) -> None:
        """Begin to take in connections.

        Args:
            listener: listens already.
            context: who we are, and whom we listen to.
            protocol: makes what speaks with one of those who come.
        """
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._context = context
        self._protocol = protocol
        self._again: asyncio.TimerHandle | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        listener.settimeout(0)
        self._listen()

    def close(self) -> None:
        """Take in nobody more. Handshakes go on until their protocols are told to shut down."""
        self._loop.remove_reader(self._listener)
        if self._again is not None:
            self._again.cancel()

    async def wait_closed(self) -> None:
        """Wait until no handshake is under way any more."""
        while self._handshakes:
            await asyncio.wait(tuple(self._handshakes))

    def _listen(self) -> None:
        self._again = None
        self._loop.add_reader(self._listener, self._take_in)

    def _take_in(self) -> None:
        for _ in range(_AT_A_TIME):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Most likely no file is left: see `descriptors.py`.
                _log.error("no connection can be taken in now", why=error.strerror)
                self._loop.remove_reader(self._listener)
                self._again = self._loop.call_later(_PAUSE_SECONDS, self._listen)
                return
            connection.settimeout(0)
            handshake = self._loop.create_task(self._shake_hands(connection))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, connection: socket.socket) -> None:
        protocol = self._protocol()
        protocol.arrive(partial(_cut, connection))
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=CLOSE_SECONDS,
            )
        except OSError:
            # Gone, too slow, not to be trusted, or something else than TLS: all of it is theirs.
            return
        finally:
            protocol.depart_unless_connected()


def _cut(connection: socket.socket) -> None:
    """End a connection under whatever is being done with it, which then sees it end."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
