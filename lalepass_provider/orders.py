"""Carries out the orders to sign an account out everywhere.

An order comes at least once, and again until it is acknowledged. In effect it is carried out once:
what it ends is older than the order, so a repetition finds nothing more to end. Where that can't be
told (see `sessions.py`), the orders that were done are remembered.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from lalepass_provider.background import Background, Backoff, Chore
from lalepass_provider.errors import NoAnswer
from lalepass_provider.metrics import Metrics
from lalepass_provider.order_queue import MAX_UNDER_WAY, OrderQueue, Pending
from lalepass_wire import limits
from lalepass_wire.feed import Acknowledgement, SignOut

logger = logging.getLogger(__name__)

_MAX_REMEMBERED: Final = 1000
_LONGEST: Final = 120.0
"""Seconds after which an order is cancelled, to be tried again when it has ended."""
_TICK: Final = 0.5
"""Seconds between two looks at what waits for another try, or to be written down and told."""


class Ended(Protocol):
    """How many sessions of an account there were."""

    @property
    def ended(self) -> int:
        """Those that are over."""
        ...

    @property
    def kept(self) -> int:
        """Those that are newer than the order."""
        ...


class Sessions(Protocol):
    """The sessions on this homeserver."""

    async def end_older(self, localpart: str, *, than_ms: int) -> Sequence[Ended]:
        """End those that began before; one result for each account that has this name."""
        ...


class Acknowledger(Protocol):
    """What is told to the service."""

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Tell that orders are carried out, or raise NoAnswer."""
        ...


class SignOuts:
    """Takes orders, carries out a few at a time, acknowledges them."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        service: Acknowledger,
        background: Background,
        remembered: Iterable[str] = (),
        remember: Callable[[], Awaitable[None]],
        metrics: Metrics,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one.

        Args:
            sessions: what is to be ended.
            service: hears of it.
            background: carries out.
            remembered: the orders that were done before this process began.
            remember: writes `done` down before it is acknowledged. What can't be written is
                acknowledged all the same, so that the order does not come again.
            metrics: counts.
            wall: seconds since 1970, by the clock that Synapse notes its times with.
            monotonic: seconds.
        """
        self._sessions = sessions
        self._service = service
        self._background = background
        self._remember = remember
        self._metrics = metrics
        self._wall = wall
        self._monotonic = monotonic
        self._queue = OrderQueue(monotonic)
        self._done: dict[str, None] = dict.fromkeys(remembered)
        self._beginning = False
        self._full_told = False
        self._to_remember: dict[str, None] = {}
        self._to_acknowledge: dict[str, None] = {}
        self._acknowledge_at = 0.0
        self._acknowledge_backoff = Backoff(first=0.5, longest=5.0)
        self._chore = Chore(background, "sign_outs", self._work)

    @property
    def done(self) -> tuple[str, ...]:
        """The orders that were carried out, the newest at the end."""
        return tuple(self._done)

    def take(self, orders: Sequence[SignOut]) -> bool:
        """Take orders as just received. Returns whether there was a new one.

        The time that an answer was on its way makes an order younger: better that a new session
        ends than that an old one does not.
        """
        now_ms = self._wall() * 1000
        new = False
        for order in orders:
            if order.id in self._done:
                self._to_acknowledge[order.id] = None
            elif order.id not in self._queue:
                given_ms = int(now_ms - order.age_seconds * 1000)
                new |= self._queue.admit(Pending(order, given_ms))
        self._begin_some()
        if self._queue or self._to_acknowledge:
            self._chore.wake()
        return new

    async def _work(self) -> None:
        while self._queue or self._to_remember or self._to_acknowledge:
            self._begin_some()
            await self._note()
            if self._to_acknowledge and self._acknowledge_at <= self._monotonic():
                await self._acknowledge()
            if self._queue or self._to_remember or self._to_acknowledge:
                await self._background.pause(_TICK)

    def _begin_some(self) -> None:
        """Begin what is due, as far as there is room. Each ends in its own time."""
        if self._beginning:
            return  # by one that has ended at once
        self._beginning = True
        try:
            while (
                pending := self._queue.next_due()
            ) is not None and self._queue.under_way.has_room:
                self._queue.under_way.begin(pending.order.id)
                self._background.start("sign_out", partial(self._carry_out, pending))
            self._tell_if_full()
        finally:
            self._beginning = False
        if self._to_remember:
            self._chore.wake()

    def _tell_if_full(self) -> None:
        full = self._queue.under_way.full and self._queue.next_due() is not None
        if full and not self._full_told:
            logger.error(
                "%d orders to sign out hang in the homeserver: no other is carried out until one of"
                " them ends",
                MAX_UNDER_WAY,
            )
        self._full_told = full

    async def _carry_out(self, pending: Pending) -> None:
        try:
            results = await self._background.within(
                "sign_out", partial(self._end_sessions, pending), seconds=_LONGEST
            )
        except Exception as exc:  # noqa: BLE001 - whatever Synapse raises; it is in the log
            self._failed(pending, exc)
        else:
            self._is_done(pending.order, results)
        self._begin_some()

    async def _end_sessions(self, pending: Pending) -> Sequence[Ended]:
        order = pending.order
        try:
            return await self._sessions.end_older(order.localpart, than_ms=pending.given_ms)
        finally:
            self._queue.under_way.end(order.id)

    def _failed(self, pending: Pending, exc: Exception) -> None:
        order = pending.order
        seconds = pending.backoff.failed()
        pending.not_before = self._monotonic() + seconds
        if order.id in self._queue.under_way:
            logger.error(
                "Order %s, to sign %s out everywhere, hangs in the homeserver's database; again"
                " when that try has ended",
                order.id,
                order.localpart,
            )
            return
        logger.error(
            "Order %s, to sign %s out everywhere, failed; again in %.0f s",
            order.id,
            order.localpart,
            seconds,
            exc_info=exc,
        )

    def _is_done(self, order: SignOut, results: Sequence[Ended]) -> None:
        self._queue.remove(order.id)
        self._done[order.id] = None
        while len(self._done) > _MAX_REMEMBERED:
            del self._done[next(iter(self._done))]
        self._to_remember[order.id] = None
        self._metrics.order_done()
        logger.info(
            "Signed %s out everywhere by order %s: %d sessions ended, %d newer ones kept%s",
            order.localpart,
            order.id,
            sum(result.ended for result in results),
            sum(result.kept for result in results),
            "" if results else "; nobody has this name here",
        )

    async def _note(self) -> None:
        """Write down what was done since the last time, and let it be acknowledged."""
        orders = tuple(self._to_remember)
        if not orders:
            return
        await self._remember()
        for order_id in orders:
            del self._to_remember[order_id]
            self._to_acknowledge[order_id] = None

    async def _acknowledge(self) -> None:
        batch = tuple(self._to_acknowledge)[: limits.MAX_ORDERS]
        try:
            await self._service.acknowledge(Acknowledgement(orders=batch))
        except NoAnswer as exc:
            seconds = self._acknowledge_backoff.failed(at_least=exc.retry_after)
            self._acknowledge_at = self._monotonic() + seconds
            logger.warning("Orders are done, and the service can't be told: %s", exc)
            return
        self._acknowledge_backoff.reset()
        self._acknowledge_at = 0.0
        for order in batch:
            del self._to_acknowledge[order]
