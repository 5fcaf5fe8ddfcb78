"""How connections to the service are made, and what bounds them.

Twisted's HTTP client bounds the length of a line of an answer's head, and not how many lines there
are. And it closes a connection politely, which with TLS the other side can put off for ever.
"""

from collections.abc import Iterable
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
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

_CLOSE_SECONDS: Final = 2.0
"""How long a connection may take to close politely; then it is cut."""

_DONE: Final = Failure(error.ConnectionDone())


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Makes bounded connections.

    Agent's own way takes every host for a name: it resolves addresses in a thread, and reports a
    refused connection only after the pause in which another address might have answered.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - the endpoints want several reactor interfaces at once
        *,
        timeout: float,
        tls_policy: IPolicyForHTTPS,
        max_received: int,
    ) -> None:
        """Make a factory.

        Args:
            reactor: Twisted's reactor.
            timeout: seconds for one connection to be made.
            tls_policy: whom to trust.
            max_received: bytes that may come in between two requests; then the connection is cut.
        """
        self._reactor = reactor
        self._timeout = timeout
        self._tls_policy = tls_policy
        self._max_received = max_received

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802 - Twisted's name
        """Return what connects to the host of this address."""
        endpoint = self._tcp(uri.host.decode("ascii"), uri.port)
        if uri.scheme == b"https":
            creator = self._tls_policy.creatorForNetloc(uri.host, uri.port)
            endpoint = wrapClientTLS(creator, endpoint)
        return _BoundedEndpoint(endpoint, self._reactor, self._max_received)

    def _tcp(self, host: str, port: int) -> IStreamClientEndpoint:
        if isIPAddress(host):
            return TCP4ClientEndpoint(self._reactor, host, port, self._timeout)
        if isIPv6Address(host):
            return TCP6ClientEndpoint(self._reactor, host, port, self._timeout)
        return HostnameEndpoint(self._reactor, host, port, self._timeout)


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    def __init__(
        self, endpoint: IStreamClientEndpoint, clock: IReactorTime, max_received: int
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._max_received = max_received

    def connect(self, protocolFactory: IProtocolFactory) -> defer.Deferred[Any]:  # noqa: N803 - Twisted's name
        bounded = _BoundedFactory(protocolFactory, self._clock, self._max_received)
        connected: defer.Deferred[Any] = self._endpoint.connect(bounded)
        # The pool wants to see its own protocol, not what is around it.
        return connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)


class _BoundedConnection(ProtocolWrapper):
    """Sits between HTTP and the network, or TLS."""

    factory: "_BoundedFactory"

    def __init__(self, factory: "_BoundedFactory", wrapped: IProtocol) -> None:
        ProtocolWrapper.__init__(self, factory, wrapped)
        self._received = 0
        self._closing: IDelayedCall | None = None

    def write(self, data: bytes) -> None:
        self._received = 0  # what comes next belongs to a new request
        ProtocolWrapper.write(self, data)

    def writeSequence(self, data: Iterable[bytes]) -> None:  # noqa: N802 - Twisted's name
        self._received = 0
        ProtocolWrapper.writeSequence(self, data)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._received += len(data)
        if self._received > self.factory.max_received:
            self._cut()
        else:
            ProtocolWrapper.dataReceived(self, data)

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        ProtocolWrapper.loseConnection(self)
        if self._closing is None:
            self._closing = self.factory.clock.callLater(_CLOSE_SECONDS, self._cut)

    def connectionLost(self, reason: Failure = _DONE) -> None:  # noqa: N802 - Twisted's name
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        ProtocolWrapper.connectionLost(self, reason)

    def _cut(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class _BoundedFactory(WrappingFactory):
    protocol = _BoundedConnection
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, clock: IReactorTime, max_received: int) -> None:
        WrappingFactory.__init__(self, wrapped)  # type: ignore[arg-type]  # generic in new Twisteds only
        self.clock = clock
        self.max_received = max_received
