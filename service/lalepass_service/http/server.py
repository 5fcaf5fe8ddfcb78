"""How a server ends: it says so first, then it takes nothing more, then it finishes what it has."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Final, cast

import structlog
import uvicorn

from lalepass_service.core.errors import Leaving
from lalepass_service.http.handshakes import TlsListener
from lalepass_service.http.protocol import BoundedProtocol
from lalepass_service.http.signals import Signals

_log: Final = structlog.stdlib.get_logger(__name__)

_CLOSE: Final = (b"connection", b"close")


class Ending:
    """Whether a server has been told to end; for those who are asked before there is one."""

    begun = False

    def check(self) -> None:
        """Say whether more should be sent here.

        Raises:
            Leaving: it should not.
        """
        if self.begun:
            raise Leaving

    @asynccontextmanager
    async def of_a_start(self, signals: Signals) -> AsyncIterator[None]:
        """Give up what is done inside when told to end: what has not begun needs no good order."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError

        def give_up(_number: int) -> None:
            # Once: a second time would break off the closing of what is open.
            if not self.begun:
                self.begun = True
                task.cancel()

        try:
            with signals.told_to(give_up):
                yield
        except asyncio.CancelledError:
            if not self.begun:
                raise
            task.uncancel()


class Server(uvicorn.Server):
    """uvicorn's server, with an end in good order.

    A signal begins the drain: the service is not ready any more and says so, but answers as
    before. Balancers turn away meanwhile, and each answer closes its connection, so that at the end
    hardly any is left on which a request might just be coming. After that no connection is taken,
    and what is under way is finished. A second signal cuts the drain short.

    A signal that was obeyed is the end of the matter: uvicorn raises it again once it is done, and
    so ends with the status of a process that was killed. Every planned stop would look like a crash
    to a supervisor.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        ending: Ending,
        signals: Signals,
        drain_seconds: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(config)
        self._ending = ending
        self._signals = signals
        self._drain_seconds = drain_seconds
        self._tls = tls
        self.url = ""
        self.facts: Mapping[str, object] = {}
        """What else is said when it starts to answer."""
        self.release: Callable[[], None] = _nothing
        """Lets those go who wait for something that may be long in coming."""
        self.before_stop: Callable[[], None] = _nothing
        """Does the same, and sees to it that nobody waits any more."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Obey them as long as requests are answered."""
        with self._signals.told_to(lambda number: self.handle_exit(number, None)):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; end if that has been begun already, or takes no time."""
        cut_short, self._ending.begun = self._ending.begun, True
        if cut_short or not self._drain_seconds:
            super().handle_exit(sig, frame)
            return
        _log.info("draining", seconds=self._drain_seconds)
        self._close_after_answers()
        self.release()
        asyncio.get_running_loop().call_later(self._drain_seconds, self._end)

    async def on_tick(self, counter: int) -> bool:
        """Renew the headers of all answers, and say whether it is over."""
        over = await super().on_tick(counter)
        if self._ending.begun:
            self._close_after_answers()
        return over

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer, and say so."""
        if self._tls is None:
            await super().startup(sockets)
        else:
            self._take_in(sockets or [], self._tls)
        _log.info("ready", url=self.url, **self.facts)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new requests, and finish the others."""
        _log.info("stopping", connections=len(self.server_state.connections))
        self.before_stop()
        await super().shutdown(sockets)

    def _take_in(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext) -> None:
        """Do what uvicorn does in `startup`, which can't say how long a handshake may take."""

        def protocol() -> BoundedProtocol:
            made = cast("type[BoundedProtocol]", self.config.http_protocol_class)
            return made(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        self.servers = [
            TlsListener(each, context=tls, protocol=protocol)  # type: ignore[misc] # uvicorn closes it and waits for that, no more
            for each in sockets
        ]
        self.started = True

    def _end(self) -> None:
        self.should_exit = True

    def _close_after_answers(self) -> None:
        headers = self.server_state.default_headers
        if _CLOSE not in headers:
            self.server_state.default_headers = [*headers, _CLOSE]


def _nothing() -> None:
    pass
