"""Servers on loopback that behave in one particular way, on the reactor of the test."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from tests.lalepass_provider.on_reactor import reactor

Behaviour = Callable[["Connection", bytes], None]
"""Called with each whole request that arrives on a connection."""


class Connection(Protocol):
    """One accepted connection. Splits what arrives into requests by their Content-Length."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self._received = b""
        self.requests = 0

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        self.server.connections.append(self)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) >= _content_length(head):
            request, self._received = self._received, b""
            self.requests += 1
            self.server.requests.append(request)
            self.server.behaviour(self, request)

    def connectionLost(self, _reason: Failure | None = None) -> None:  # noqa: N802 - Twisted's name
        self.server.connections.remove(self)
        if not self.server.connections:
            waiting, self.server.emptied = self.server.emptied, []
            for waiter in waiting:
                waiter.callback(None)

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def answer(self, body: bytes, *, status: bytes = b"200 OK", extra: bytes = b"") -> None:
        length = str(len(body)).encode()
        kind = b"Content-Type: application/json\r\nContent-Length: " + length + b"\r\n"
        self.send(b"HTTP/1.1 " + status + b"\r\n" + kind + extra + b"\r\n" + body)

    def close(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def abort(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


@dataclass
class Server:
    """What the connections of one listening port share."""

    behaviour: Behaviour
    port: int = 0
    connections: list[Connection] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    emptied: list[defer.Deferred[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def no_connections(self) -> defer.Deferred[None]:
        """Fire as soon as the last connection is gone."""
        gone: defer.Deferred[None] = defer.Deferred()
        if self.connections:
            self.emptied.append(gone)
        else:
            gone.callback(None)
        return gone.addTimeout(10, reactor)


class _Factory(Factory):
    def __init__(self, server: Server) -> None:
        self._server = server

    def buildProtocol(self, _addr: IAddress | None) -> Connection:  # noqa: N802 - Twisted's name
        return Connection(self._server)


@asynccontextmanager
async def serving(
    behaviour: Behaviour, *, port: int = 0, tls: object = None
) -> AsyncIterator[Server]:
    """Listen on a free port of loopback, or on this one, for as long as the block runs.

    With `tls`, one of Twisted's context factories, it speaks TLS.
    """
    server = Server(behaviour)
    if tls is None:
        listening = reactor.listenTCP(port, _Factory(server), interface="127.0.0.1")
    else:
        listening = reactor.listenSSL(port, _Factory(server), tls, interface="127.0.0.1")
    server.port = listening.getHost().port
    try:
        yield server
    finally:
        for connection in list(server.connections):
            connection.abort()
        await server.no_connections()
        await defer.maybeDeferred(listening.stopListening)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
