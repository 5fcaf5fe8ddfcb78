"""The bodies of requests and of answers, as Twisted wants them."""

import re
from collections.abc import Mapping
from typing import Final

from twisted.internet import defer, error
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from lalepass_provider.errors import Broken

_PLAIN: Final = re.compile(r"[\n -~]*")
"""The head of a request, with one character between two lines."""

_DONE: Final = Failure(error.ConnectionDone())


class Written:
    """A request in the form in which it goes over the wire, head and body in one go.

    Twisted's HTTP11ClientProtocol sends whatever has this form (`twisted/web/_newclient.py`,
    Request). Its own one takes a body from a producer, with some twenty calls and five Deferreds
    for what is a few kilobytes at most.
    """

    persistent = True
    """The connection is kept."""
    absoluteURI = None  # noqa: N815 - Twisted's name

    def __init__(
        self, *, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Write it down.

        Raises:
            ValueError: something in the head would end its line, or is not ASCII.
        """
        self.method = method.encode("ascii")
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        head = "\n".join(lines)
        if " " in target or head.count("\n") != len(lines) - 1 or not _PLAIN.fullmatch(head):
            # Nothing of it in the text: there is a token in the head.
            raise ValueError("the head of a request would not be what was meant")
        self._content = head.replace("\n", "\r\n").encode("ascii") + b"\r\n\r\n" + body

    def writeTo(self, transport: ITransport) -> defer.Deferred[None]:  # noqa: N802 - Twisted's name
        """Write it."""
        transport.write(self._content)
        return defer.succeed(None)

    def stopWriting(self) -> None:  # noqa: N802 - Twisted's name
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
