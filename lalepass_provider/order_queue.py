"""The orders to sign out that wait, and those that are being carried out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lalepass_provider.background import Backoff
from lalepass_wire import limits
from lalepass_wire.feed import SignOut

_MAX_PENDING: Final = 10 * limits.MAX_ORDERS
"""Further ones are left where they are: the service repeats them. One that fails makes room."""

_MAX_PUT_OFF: Final = 10 * _MAX_PENDING
"""Those that made room. With that many no further one does: what fails then is the homeserver."""

_FORGET_SECONDS: Final = 600.0
"""For so long one that made room was not repeated: the service has a newer order in its place."""

_AT_ONCE: Final = 3
"""Orders that are carried out at the same time, not counting those that hang."""
_PATIENCE: Final = 10.0
"""Seconds after which an order is taken for one that hangs, and the next one is begun. To end a
thousand sessions takes a few."""
MAX_UNDER_WAY: Final = 6
"""With those that hang. Each may hold one of the ten threads that Synapse has for its database."""


@dataclass
class Pending:
    """An order that is not done yet."""

    order: SignOut
    given_ms: int
    """When it was given, by our clock."""
    backoff: Backoff = field(default_factory=lambda: Backoff(first=1.0, longest=60.0))
    not_before: float = 0.0


class OrderQueue:
    """Those that wait, in the order in which they came: at most `MAX_PENDING`."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._pending: dict[str, Pending] = {}
        self._put_off: dict[str, Pending] = {}
        self.under_way = UnderWay(monotonic)

    def __bool__(self) -> bool:
        return bool(self._pending)

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._pending

    def admit(self, pending: Pending) -> bool:
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

    def next_due(self) -> Pending | None:
        """Return the first whose time has come and that is not under way."""
        now = self._monotonic()
        due = (
            pending
            for order_id, pending in self._pending.items()
            if pending.not_before <= now and order_id not in self.under_way
        )
        return next(due, None)

    def remove(self, order_id: str) -> None:
        """It is done. It is not there if it had to make room while it was under way."""
        self._pending.pop(order_id, None)
        self._put_off.pop(order_id, None)


class UnderWay:
    """The orders that are being carried out, from the begin to the true end of each.

    To cancel one is not to end it: what waits for the database goes on until that has answered. It
    must not be begun a second time, nor keep the others waiting.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._begun: dict[str, float] = {}

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._begun

    @property
    def full(self) -> bool:
        """So many hang that no other may be begun."""
        return len(self._begun) >= MAX_UNDER_WAY

    @property
    def has_room(self) -> bool:
        """Say whether another one may be begun."""
        patient = self._monotonic() - _PATIENCE
        busy = sum(begun > patient for begun in self._begun.values())
        return busy < _AT_ONCE and not self.full

    def begin(self, order_id: str) -> None:
        """Note that it begins now."""
        self._begun[order_id] = self._monotonic()

    def end(self, order_id: str) -> None:
        """Note that it has truly ended."""
        self._begun.pop(order_id, None)
