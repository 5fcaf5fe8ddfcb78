"""An httpx transport on Twisted's reactor.

httpx's own asynchronous transport needs asyncio or trio and fails inside Synapse. This one uses
Twisted's Agent and connection pool: no thread (but the one of Synapse's resolver that looks up a
host name), and nothing that blocks the reactor. Neither of those two bounds anything by itself, so
the deadline, the size of an answer and the end of a connection are kept here.
"""

from collections.abc import Callable
from typing import Any, Final

import httpx
from twisted.internet import defer, error
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from lalepass_provider.connections import Endpoints

Yieldable = Callable[[defer.Deferred[httpx.Response]], defer.Deferred[httpx.Response]]
"""Makes a Deferred safe to await: Synapse's `make_deferred_yieldable`."""

_MAX_HEAD_BYTES: Final = 32 * 1024
"""Of an answer, beside its body."""

IDLE_SECONDS: Final = 30
"""How long an unused connection is kept. Less than the service keeps its own (75 s), so that it
is this side that closes: a request never meets a connection that is just being closed."""


_DONE: Final = Failure(error.ConnectionDone())


class AnswerTooLarge(httpx.RemoteProtocolError):
    """The answer's body went over the cap."""


class TwistedTransport(httpx.AsyncBaseTransport):
    """Sends each request of an `httpx.AsyncClient` through Twisted's Agent.

    Raises what httpx's transports raise: `ConnectError`, `ConnectTimeout`, `ReadTimeout`,
    `ReadError`, `RemoteProtocolError`.
    """

    def __init__(
        self,
        *,
        reactor: Any,  # noqa: ANN401 - Agent wants several reactor interfaces at once
        connect_timeout: float,
        deadline: float,
        max_answer_bytes: int,
        max_idle_connections: int,
        tls_policy: IPolicyForHTTPS | None = None,
        yieldable: Yieldable = lambda deferred: deferred,
    ) -> None:
        """Make a transport.

        Args:
            reactor: Twisted's reactor.
            connect_timeout: seconds for one connection to be made.
            deadline: seconds for everything, from the call to the last byte of the answer. A
                request may bring its own as `extensions["deadline"]`.
            max_answer_bytes: a longer answer is cut off and raises AnswerTooLarge. A request may
                have a lower cap as `extensions["max_answer_bytes"]`.
            max_idle_connections: how many unused connections are kept for each host.
            tls_policy: whom to trust; the platform's certificates if not given.
            yieldable: what to wrap a Deferred with before it is awaited.
        """
        self._clock: IReactorTime = reactor
        self._deadline = deadline
        self._max_answer_bytes = max_answer_bytes
        self._yieldable = yieldable
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = max_idle_connections
        self._pool.cachedConnectionTimeout = IDLE_SECONDS
        endpoints = Endpoints(
            reactor,
            timeout=connect_timeout,
            tls_policy=tls_policy or BrowserLikePolicyForHTTPS(),
            max_received=max_answer_bytes + _MAX_HEAD_BYTES,
        )
        self._agent: IAgent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its whole answer, or raise within the deadline."""
        body = b"".join([part async for part in request.stream])  # type: ignore[union-attr]  # async
        exchange = defer.Deferred.fromCoroutine(self._exchange(request, body))
        deadline = request.extensions.get("deadline", self._deadline)
        exchange.addTimeout(deadline, self._clock, onTimeoutCancel=_timed_out(request))
        return await self._yieldable(exchange)

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        await self._pool.closeCachedConnections()

    async def _exchange(self, request: httpx.Request, body: bytes) -> httpx.Response:
        try:
            response = await self._send(request, body)
            return await self._read(request, response)
        except (error.TimeoutError, error.TCPTimedOutError) as exc:
            raise httpx.ConnectTimeout("the connection took too long", request=request) from exc
        except (error.ConnectError, error.DNSLookupError) as exc:
            raise httpx.ConnectError(_fact(exc), request=request) from exc
        except (ResponseFailed, RequestTransmissionFailed) as exc:
            if _was(exc, defer.CancelledError):
                raise defer.CancelledError from exc
            raise httpx.ReadError(_facts(exc), request=request) from exc
        except (httpx.HTTPError, defer.CancelledError):
            raise
        except Exception as exc:
            # Twisted lets errors of OpenSSL, of its parser and of name resolution through as they
            # are. Whatever it is, there was no answer, and that is what has to be said above.
            raise httpx.RemoteProtocolError(_fact(exc), request=request) from exc

    async def _send(self, request: httpx.Request, body: bytes) -> IResponse:
        try:
            return await self._ask(request, body)
        except ResponseNeverReceived as exc:
            # A kept connection may have been closed by the other side while the request was on
            # its way, as happens when the service restarts. Asking once more is safe: a check
            # changes nothing but a budget, and the same password again is no new guess.
            if not _was(exc, error.ConnectionDone, error.ConnectionLost):
                raise
        return await self._ask(request, body)

    def _ask(self, request: httpx.Request, body: bytes) -> defer.Deferred[IResponse]:
        headers = Headers()
        for name, value in request.headers.raw:
            # Agent writes these two itself.
            if name.lower() not in {b"host", b"content-length"}:
                headers.addRawHeader(name, value)
        url = str(request.url).encode("ascii")
        return self._agent.request(request.method.encode("ascii"), url, headers, _Body(body))

    async def _read(self, request: httpx.Request, response: IResponse) -> httpx.Response:
        headers = [
            (name, value)
            for name, values in response.headers.getAllRawHeaders()
            for value in values
            # A client keeps cookies for ever; a proxy that sets them would make each request
            # longer than the last, until none is taken any more.
            if name.lower() != b"set-cookie"
        ]
        if response.headers.hasHeader(b"content-encoding"):
            # Not asked for; httpx would unpack it, and a small answer could become a large one.
            response.deliverBody(_Discard())
            raise httpx.RemoteProtocolError("the answer is compressed", request=request)
        cap = request.extensions.get("max_answer_bytes", self._max_answer_bytes)
        reader = _Reader(min(cap, self._max_answer_bytes))
        response.deliverBody(reader)
        body = await reader.finished
        return httpx.Response(response.code, headers=headers, content=body, request=request)


@implementer(IBodyProducer)
class _Body:
    """The body of a request, written in one go: it is a few kilobytes at most."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> defer.Deferred[None]:  # noqa: N802 - Twisted's
        consumer.write(self._body)
        return defer.succeed(None)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        pass

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        pass

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        pass


class _Reader(Protocol):
    """Collects the body of an answer, up to a cap."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._parts: list[bytes] = []
        self._size = 0
        self.finished: defer.Deferred[bytes] = defer.Deferred(lambda _: self._hang_up())

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self.finished.called:
            return
        self._size += len(data)
        if self._size > self._cap:
            self._parts.clear()
            self._hang_up()
            self.finished.errback(AnswerTooLarge(f"the answer is longer than {self._cap} bytes"))
            return
        self._parts.append(data)

    def connectionLost(self, reason: Failure = _DONE) -> None:  # noqa: N802 - Twisted's name
        if self.finished.called:
            return
        if reason.check(ResponseDone):
            self.finished.callback(b"".join(self._parts))
        else:
            self.finished.errback(httpx.ReadError("the answer was cut off"))

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _Discard(Protocol):
    """Hangs up instead of reading a body."""

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        if self.transport is not None:
            self.transport.loseConnection()


def _timed_out(request: httpx.Request) -> Callable[[object, float], object]:
    def convert(result: object, seconds: float) -> object:
        if isinstance(result, Failure):
            raise httpx.ReadTimeout(f"no answer within {seconds:g} s", request=request)
        return result  # it came at the very moment of the cancellation

    return convert


def _was(exc: ResponseFailed | RequestTransmissionFailed, *kinds: type[Exception]) -> bool:
    """Look into one of Twisted's wrappers: did it come to this for these reasons only?"""
    return all(reason.check(*kinds) is not None for reason in exc.reasons)


def _fact(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__


def _facts(exc: ResponseFailed | RequestTransmissionFailed) -> str:
    return "; ".join(_fact(reason.value) for reason in exc.reasons)
