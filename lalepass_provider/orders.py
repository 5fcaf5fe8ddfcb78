"""Carries out the orders to sign an account out everywhere.

An order comes at least once, and again until it is acknowledged. In effect it is carried out once:
what it ends is older than the order, so a repetition finds nothing more to end. Where that can't be
told (see `sessions.py`), the orders that were done are remembered.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from lalepass_provider.background import Background, Backoff, Chore
from lalepass_provider.errors import NoAnswer
from lalepass_provider.metrics import Metrics
from lalepass_wire import limits
from lalepass_wire.feed import Acknowledgement, SignOut

logger = logging.getLogger(__name__)

_MAX_PENDING: Final = 10 * limits.MAX_ORDERS
"""Further ones are left where they are: the service repeats them. One that fails makes room."""

_MAX_PUT_OFF: Final = 10 * _MAX_PENDING
"""Those that made room. With that many no further one does: what fails then is the homeserver."""

_FORGET_SECONDS: Final = 600.0
"""For so long one that made room was not repeated: the service has a newer order in its place."""

_MAX_REMEMBERED: Final = 1000
_LONGEST: Final = 120.0
"""Seconds for one order. To end a thousand sessions takes a few; what hangs for longer would keep
all that come behind it."""
_TICK: Final = 0.5
"""Seconds between two looks at what waits for another try: a new order waits no longer."""


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


@dataclass
class _Pending:
    order: SignOut
    given_ms: int
    """When it was given, by our clock."""
    backoff: Backoff = field(default_factory=lambda: Backoff(first=1.0, longest=60.0))
    not_before: float = 0.0


class SignOuts:
    """Takes orders, carries them out one after the other, acknowledges them."""

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
            remember: writes `done` down, before anything is acknowledged.
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
        self._pending: dict[str, _Pending] = {}
        self._put_off: dict[str, _Pending] = {}
        self._done: dict[str, None] = dict.fromkeys(remembered)
        self._to_acknowledge: dict[str, None] = {}
        self._acknowledge_at = 0.0
        self._acknowledge_backoff = Backoff(first=0.5, longest=5.0)
        self._chore = Chore(background, "sign_outs", self._work)

    @property
    def done(self) -> tuple[str, ...]:
        """The orders that were carried out, the newest at the end."""
        return tuple(self._done)

    def take(self, orders: Sequence[SignOut]) -> bool:
        """Take orders as just received. Returns whether there was a new one."""
        now_ms = self._wall() * 1000
        new = False
        for order in orders:
            if order.id in self._done:
                self._to_acknowledge[order.id] = None
            elif order.id not in self._pending:
                given_ms = int(now_ms - order.age_seconds * 1000)
                new |= self._admit(_Pending(order, given_ms))
        if self._pending or self._to_acknowledge:
            self._chore.wake()
        return new

    def _admit(self, pending: _Pending) -> bool:
        """Let an order wait for its turn, if there is room or can be made. Returns whether so."""
        order_id = pending.order.id
        pending = self._put_off.get(order_id, pending)
        if pending.not_before > self._monotonic():
            return False  # its next try is not due: it may stay where it is
        if len(self._pending) >= _MAX_PENDING and not self._make_room():
            return False
        self._put_off.pop(order_id, None)
        self._pending[order_id] = pending
        return True

    def _make_room(self) -> bool:
        """Put off the order whose next try is the furthest away. False if each is due."""
        now = self._monotonic()
        last = max(self._pending.values(), key=lambda pending: pending.not_before)
        if last.not_before <= now:
            return False
        if len(self._put_off) >= _MAX_PUT_OFF:
            order_id, oldest = next(iter(self._put_off.items()))
            if oldest.not_before + _FORGET_SECONDS > now:
                return False
            del self._put_off[order_id]
        del self._pending[last.order.id]
        self._put_off[last.order.id] = last
        return True

    async def _work(self) -> None:
        while self._pending or self._to_acknowledge:
            done = [
                pending.order.id
                for pending in list(self._pending.values())
                if pending.not_before <= self._monotonic() and await self._carry_out(pending)
            ]
            await self._note(done)
            if self._to_acknowledge and self._acknowledge_at <= self._monotonic():
                await self._acknowledge()
            if self._pending or self._to_acknowledge:
                await self._background.pause(_TICK)

    async def _carry_out(self, pending: _Pending) -> bool:
        order = pending.order
        try:
            results = await self._background.within(
                _LONGEST,
                lambda: self._sessions.end_older(order.localpart, than_ms=pending.given_ms),
            )
        except Exception:
            seconds = pending.backoff.failed()
            pending.not_before = self._monotonic() + seconds
            logger.exception(
                "Order %s, to sign %s out everywhere, failed; again in %.0f s",
                order.id,
                order.localpart,
                seconds,
            )
            return False
        self._metrics.order_done()
        logger.info(
            "Signed %s out everywhere by order %s: %d sessions ended, %d newer ones kept%s",
            order.localpart,
            order.id,
            sum(result.ended for result in results),
            sum(result.kept for result in results),
            "" if results else "; nobody has this name here",
        )
        return True

    async def _note(self, done: Sequence[str]) -> None:
        if not done:
            return
        for order in done:
            # Not there if it had to make room while it was under way.
            self._pending.pop(order, None)
            self._put_off.pop(order, None)
            self._done[order] = None
            self._to_acknowledge[order] = None
        while len(self._done) > _MAX_REMEMBERED:
            del self._done[next(iter(self._done))]
        await self._remember()

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
