"""What keeps homeservers in step."""

# ruff: noqa: PLC0415 - see the package

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lalepass_service.parts.database import open_hot

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.hot import Hot
    from lalepass_service.adapters.sql.migrate import Store
    from lalepass_service.config import Config
    from lalepass_service.core.changes import SignOutOrders
    from lalepass_service.core.feed import Feed
    from lalepass_service.core.sign_ins import Reporting, SignIns
    from lalepass_service.core.watch import Watch
    from lalepass_service.parts.house import Chore

_PER_SECOND: Final = 100.0
_BURST: Final = 500
"""Requests of one caller, all its processes together: each asks once for every answer that it
gets, and nobody gets more than four in a second. Most of what is above it has a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followers:
    """What homeservers follow, and what they report."""

    feed: "Feed"
    reporting: "Reporting"
    watch: "Watch"
    orders: "SignOutOrders"
    sign_ins: "SignIns"

    @property
    def waiting(self) -> int:
        """How many wait for a change."""
        return self.watch.waiting

    def chores(self) -> "dict[str, Chore]":
        """Return what forgets old orders and sign-ins."""
        from lalepass_service.core.feed import KEEP_ORDERS
        from lalepass_service.core.sign_ins import KEEP_FOR

        return {
            "orders": lambda now: self.orders.sweep(before=now - KEEP_ORDERS),
            "sign_ins": lambda now: self.sign_ins.sweep(before=now - KEEP_FOR),
        }


@asynccontextmanager
async def open_followers(config: "Config", hot: "Hot", *, at: "Store") -> AsyncIterator[Followers]:
    """Open what homeservers follow. It reads on a thread of its own, and writes on `hot`.

    `at` is what `open_store` has found.
    """
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.adapters.sql.feed import SqlChanges
    from lalepass_service.adapters.sql.orders import SqlSignOutOrders
    from lalepass_service.adapters.sql.sign_ins import SqlSignIns
    from lalepass_service.core.feed import Feed
    from lalepass_service.core.sign_ins import Reporting
    from lalepass_service.core.throttle import LocalThrottle, Rate
    from lalepass_service.core.watch import Watch

    rate = Rate(burst=_BURST, per_second=_PER_SECOND)
    throttle = LocalThrottle(source=rate, caller=rate)
    clock = SystemClock()
    async with open_hot(config, at, narrow=True) as lane:
        changes = SqlChanges(lane)
        orders = SqlSignOutOrders(lane=lane, hot=hot)
        sign_ins = SqlSignIns(hot)
        watch = Watch(changes.head)
        try:
            yield Followers(
                feed=Feed(
                    changes=changes, orders=orders, watch=watch, throttle=throttle, clock=clock
                ),
                reporting=Reporting(sign_ins=sign_ins, throttle=throttle, clock=clock),
                watch=watch,
                orders=orders,
                sign_ins=sign_ins,
            )
        finally:
            await watch.close()
