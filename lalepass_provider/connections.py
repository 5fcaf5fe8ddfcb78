"""How connections to the service are made, and what bounds them.

Twisted's HTTP client bounds the length of a line of an answer's head, and not how many lines there
are. It takes a connection for made before TLS has been agreed on. And it closes a connection
politely, which with TLS the other side can put off for ever.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet import defer, error
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

_CLOSE_SECONDS: Final = 2.0
"""How long a connection may take to close politely; then it is cut."""

_DONE: Final = Failure(error.ConnectionDone())


@implementer(IStreamClientEndpoint)
class BoundedEndpoint:
    """Makes bounded connections to one host and port, with TLS or without.

    Agent's own way takes every host for a name: it resolves addresses in a thread, and reports a
    refused connection only after the pause in which another address might have answered.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - the endpoints want several reactor interfaces at once
        *,
        host: str,
        port: int,
        timeout: float,
        tls: Callable[[], IOpenSSLClientConnectionCreator] | None,
    ) -> None:
        """Make an endpoint.

        Args:
            reactor: Twisted's reactor.
            host: an address or a name.
            port: where it listens.
            timeout: seconds for a connection to be made, TLS included.
            tls: says how TLS is to be agreed on, or None for none.
        """
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout = timeout
        self._tls = tls

    def connect(self, protocolFactory: IProtocolFactory) -> defer.Deferred[Any]:  # noqa: N803 - Twisted's name
        """Fire with the factory's protocol when it may send."""
        bounded = _BoundedFactory(protocolFactory, self._reactor)
        endpoint = self._tcp()
        if self._tls is not None:
            endpoint = wrapClientTLS(self._tls(), endpoint)
        connected: defer.Deferred[Any] = endpoint.connect(bounded)
        if self._tls is not None:
            connected.addCallback(_agreed)
        # The pool wants to see its own protocol, not what is around it.
        connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)
        return connected.addTimeout(self._timeout, self._reactor, onTimeoutCancel=too_slow)

    def _tcp(self) -> IStreamClientEndpoint:
        if isIPAddress(self._host):
            return TCP4ClientEndpoint(self._reactor, self._host, self._port, self._timeout)
        if isIPv6Address(self._host):
            return TCP6ClientEndpoint(self._reactor, self._host, self._port, self._timeout)
        return HostnameEndpoint(self._reactor, self._host, self._port, self._timeout)


def too_slow(result: object, _seconds: float) -> object:
    """Make the error of a timeout of what is left of a connection that was given up for it."""
    if isinstance(result, Failure):
        raise error.TimeoutError
    return result


def _agreed(connection: "BoundedConnection") -> "defer.Deferred[BoundedConnection]":
    return connection.agreed


@implementer(IHandshakeListener)
class BoundedConnection(ProtocolWrapper):
    """Sits between HTTP and the network, or TLS."""

    factory: "_BoundedFactory"

    def __init__(self, factory: "_BoundedFactory", wrapped: IProtocol) -> None:
        ProtocolWrapper.__init__(self, factory, wrapped)
        self.received = 0
        """Bytes that have come since something was sent: of the answer to the last request."""
        self.max_received = 0
        """How many may come; then the connection is cut."""
        self.agreed: defer.Deferred[BoundedConnection] = defer.Deferred(lambda _: self._cut())
        """Fires when TLS has been agreed on."""
        self._closing: IDelayedCall | None = None

    def handshakeCompleted(self) -> None:  # noqa: N802 - Twisted's name
        """TLS has been agreed on."""
        if not self.agreed.called:
            self.agreed.callback(self)

    def write(self, data: bytes) -> None:
        """Send something: a request begins."""
        self.received = 0  # what comes next belongs to a new request
        ProtocolWrapper.write(self, data)

    def writeSequence(self, data: Iterable[bytes]) -> None:  # noqa: N802 - Twisted's name
        """Send something: a request begins."""
        self.received = 0
        ProtocolWrapper.writeSequence(self, data)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take a part of an answer, or cut the connection if there is too much of it."""
        self.received += len(data)
        if self.received > self.max_received:
            self._cut()
        else:
            ProtocolWrapper.dataReceived(self, data)

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Close politely, and for certain."""
        ProtocolWrapper.loseConnection(self)
        if self._closing is None:
            self._closing = self.factory.clock.callLater(_CLOSE_SECONDS, self._cut)

    def connectionLost(self, reason: Failure = _DONE) -> None:  # noqa: N802 - Twisted's name
        """It is over."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        ProtocolWrapper.connectionLost(self, reason)
        if not self.agreed.called:
            self.agreed.errback(reason)
            # Without TLS, or after a cancellation, nobody waits for it.
            self.agreed.addErrback(lambda _: None)

    def _cut(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class _BoundedFactory(WrappingFactory):
    protocol = BoundedConnection
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, clock: IReactorTime) -> None:
        WrappingFactory.__init__(self, wrapped)  # type: ignore[arg-type]  # generic in new Twisteds only
        self.clock = clock
