"""The bodies of requests and of answers, as Twisted wants them."""

from typing import Final

from twisted.internet import defer, error
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from lalepass_provider.errors import Broken

_DONE: Final = Failure(error.ConnectionDone())


@implementer(IBodyProducer)
class Body:
    """The body of a request, written in one go: it is a few kilobytes at most."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> defer.Deferred[None]:  # noqa: N802 - Twisted's
        """Write it."""
        consumer.write(self._body)
        return defer.succeed(None)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """There is nothing to pause."""

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """There is nothing to resume."""

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """There is nothing to stop."""


class Reader(Protocol):
    """Collects the body of an answer, up to a cap."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._parts: list[bytes] = []
        self._size = 0
        self.finished: defer.Deferred[bytes] = defer.Deferred(lambda _: self._hang_up())

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep a part, or hang up if there is too much."""
        if self.finished.called:
            return
        self._size += len(data)
        if self._size > self._cap:
            self._parts.clear()
            self._hang_up()
            self.finished.errback(Broken(f"the answer is longer than {self._cap} bytes"))
            return
        self._parts.append(data)

    def connectionLost(self, reason: Failure = _DONE) -> None:  # noqa: N802 - Twisted's name
        """Fire, since the body is over."""
        if self.finished.called:
            return
        if reason.check(ResponseDone):
            self.finished.callback(b"".join(self._parts))
        else:
            self.finished.errback(Broken("the answer was cut off"))

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class Discard(Protocol):
    """Hangs up instead of reading a body."""

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Hang up."""
        if self.transport is not None:
            self.transport.loseConnection()
