"""HTTP to one endpoint of the service, on Twisted's reactor.

Twisted's Agent and connection pool: no thread (but the one of Synapse's resolver that looks up a
host name), and nothing that blocks the reactor. Neither of those two bounds anything by itself, so
the deadline, the size of an answer and the end of a connection are kept here. And neither tells
apart what matters to whoever may ask another endpoint: was anything sent, has anything come back?
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet import defer, error
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseFailed,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from lalepass_provider.addresses import host_and_port
from lalepass_provider.bodies import Body, Discard, Reader
from lalepass_provider.connections import BoundedConnection, BoundedEndpoint, too_slow
from lalepass_provider.errors import Broken, Lost, NotConnected, TooSlow, Unreachable
from lalepass_provider.tls import ClientTls

_MAX_HEAD_BYTES: Final = 32 * 1024
"""Of an answer, beside its body."""

IDLE_SECONDS: Final = 30
"""How long an unused connection is kept. Less than the service keeps its own (75 s), so that it
is this side that closes: a request never meets a connection that is just being closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked. Holds passwords and tokens, and so has no print."""

    method: str
    target: str = field(repr=False)
    """Path and query, in ASCII."""
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    max_answer_bytes: int
    """A longer body of an answer is cut off."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        """Return the last header of this name, or nothing."""
        values = self.headers.getRawHeaders(name)
        return values[-1] if values else ""


class Transport:
    """Sends requests to one endpoint, over connections that it keeps."""

    def __init__(
        self,
        *,
        reactor: Any,  # noqa: ANN401 - Agent wants several reactor interfaces at once
        url: str,
        connect_timeout: float,
        max_idle_connections: int,
        tls: ClientTls | None = None,
    ) -> None:
        """Make a transport.

        Args:
            reactor: Twisted's reactor.
            url: where the endpoint is, such as `https://auth.example.org:8220`.
            connect_timeout: seconds for one connection to be made, TLS included.
            max_idle_connections: how many unused connections are kept.
            tls: whom to trust and who we are; needed if the url begins with https.
        """
        host, port = host_and_port(url)
        self.name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        """Host and port, for logs and metrics."""
        self._base = url.rstrip("/")
        self._reactor = reactor
        self._clock: IReactorTime = reactor
        self._max_idle = max_idle_connections
        self._tls = tls if url.startswith("https:") else None
        self._endpoint = _OneEndpoint(
            BoundedEndpoint(
                reactor,
                host=host,
                port=port,
                timeout=connect_timeout,
                tls=self._tls.agreement(host) if self._tls else None,
            )
        )
        self._pool = self._new_pool()
        self._tls_version = self._tls.version if self._tls else 0

    def send(
        self, request: Request, *, seconds: float, connect_seconds: float | None = None
    ) -> defer.Deferred[Answer]:
        """Send one request and fire with its whole answer, or fail in time.

        Args:
            request: what is asked.
            seconds: for everything, from now to the last byte of the answer.
            connect_seconds: of these for a new connection, if less than usual.

        Fails with NotConnected, Lost, TooSlow or Broken.
        """
        self._retire_if_tls_changed()
        attempt = _Attempt(self._pool, request, self._clock, connect_seconds)
        exchange = defer.Deferred.fromCoroutine(self._exchange(request, attempt))
        return exchange.addTimeout(seconds, self._clock, onTimeoutCancel=attempt.timed_out)

    def drop_idle(self) -> defer.Deferred[None]:
        """Close the connections that are not in use."""
        closed: defer.Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _new_pool(self) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(self._reactor)
        pool.maxPersistentPerHost = self._max_idle
        pool.cachedConnectionTimeout = IDLE_SECONDS
        pool.retryAutomatically = False  # whoever chooses the endpoint decides that
        return pool

    def _retire_if_tls_changed(self) -> None:
        """Leave connections behind that were made with other certificates than those of now."""
        if self._tls is None or self._tls.version == self._tls_version:
            return
        self._tls_version = self._tls.version
        old, self._pool = self._pool, self._new_pool()
        old.closeCachedConnections()
        # Those in use come back when they are done, and are closed then.
        old.cachedConnectionTimeout = 0

    async def _exchange(self, request: Request, attempt: "_Attempt") -> Answer:
        try:
            response = await self._ask(request, attempt)
            body = await self._read(request, response)
        except (defer.CancelledError, error.ConnectingCancelledError) as exc:
            raise defer.CancelledError from exc
        except Unreachable:
            raise
        except Exception as exc:
            if isinstance(exc, _WRAPPERS) and _was_cancelled(exc):
                raise defer.CancelledError from exc
            # Twisted lets errors of OpenSSL, of its parser and of name resolution through as they
            # are. Whatever it is, there was no answer, and that is what has to be said above.
            raise attempt.fault(exc) from exc
        return Answer(response.code, response.headers, body)

    def _ask(self, request: Request, attempt: "_Attempt") -> defer.Deferred[IResponse]:
        agent = Agent.usingEndpointFactory(self._reactor, self._endpoint, attempt)
        headers = Headers()
        for name, value in request.headers.items():
            headers.addRawHeader(name, value)
        url = (self._base + request.target).encode("ascii")
        body = Body(request.body) if request.body else None
        asked: defer.Deferred[IResponse] = agent.request(
            request.method.encode("ascii"), url, headers, body
        )
        return asked

    async def _read(self, request: Request, response: IResponse) -> bytes:
        if response.headers.hasHeader(b"content-encoding"):
            # Not asked for. A small answer could be unpacked to a large one.
            response.deliverBody(Discard())
            raise Broken("the answer is compressed")
        reader = Reader(request.max_answer_bytes)
        response.deliverBody(reader)
        return await reader.finished


@implementer(IAgentEndpointFactory)
class _OneEndpoint:
    def __init__(self, endpoint: BoundedEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, _uri: URI) -> BoundedEndpoint:  # noqa: N802 - Twisted's name
        return self._endpoint


class _Attempt:
    """Stands between Agent and its pool, to see which connection a request got."""

    persistent = True

    def __init__(
        self,
        pool: HTTPConnectionPool,
        request: Request,
        clock: IReactorTime,
        connect_seconds: float | None,
    ) -> None:
        self._pool = pool
        self._cap = request.max_answer_bytes + _MAX_HEAD_BYTES
        self._clock = clock
        self._connect_seconds = connect_seconds
        self._connection: BoundedConnection | None = None

    def getConnection(self, key: object, endpoint: BoundedEndpoint) -> defer.Deferred[Any]:  # noqa: N802 - Twisted's name
        connected: defer.Deferred[Any] = self._pool.getConnection(key, endpoint)
        if self._connect_seconds is not None and not connected.called:
            connected.addTimeout(self._connect_seconds, self._clock, onTimeoutCancel=too_slow)
        return connected.addCallback(self._noted)

    def _noted(self, protocol: Any) -> Any:  # noqa: ANN401 - Twisted's private HTTP11ClientProtocol
        connection: BoundedConnection = protocol.transport
        connection.max_received = self._cap
        connection.received = 0
        self._connection = connection
        return protocol

    @property
    def _begun(self) -> bool:
        return self._connection is not None and self._connection.received > 0

    def fault(self, exc: Exception) -> Unreachable:
        """Say how far it came."""
        if self._connection is None:
            if isinstance(exc, error.TimeoutError | error.TCPTimedOutError):
                return NotConnected("the connection took too long")
            return NotConnected(_facts(exc))
        return Broken(_facts(exc)) if self._begun else Lost(_facts(exc))

    def timed_out(self, result: Any, seconds: float) -> Any:  # noqa: ANN401 - an Answer or a Failure
        """Make an error of what the cancellation at the deadline has left."""
        if not isinstance(result, Failure):
            return result  # it came at the very moment of the cancellation
        if self._connection is None:
            raise NotConnected(f"no connection within {seconds:.3g} s")
        raise TooSlow(f"no answer within {seconds:.3g} s", begun=self._begun)


_WRAPPERS: Final = (ResponseFailed, RequestTransmissionFailed)


def _was_cancelled(exc: ResponseFailed | RequestTransmissionFailed) -> bool:
    return all(reason.check(defer.CancelledError) is not None for reason in exc.reasons)


def _facts(exc: BaseException) -> str:
    """Return what the operator should read, from inside of Twisted's wrappers."""
    if isinstance(exc, _WRAPPERS):
        return "; ".join(_facts(reason.value) for reason in exc.reasons)
    return str(exc) or type(exc).__name__
