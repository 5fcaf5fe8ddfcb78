"""The change feed: who follows the accounts, and what they are told.

State and not history: each account is in the feed once, as it is now, at the place of its newest
change. So the feed is never longer than the list of accounts, and who has been away for a year
catches up like one who has been away for a second.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lalepass_service.core.changes import Change, Changes, SignOutOrder, SignOutOrders
from lalepass_service.core.errors import CursorUnknown
from lalepass_service.core.ports import Clock, Throttle
from lalepass_service.core.watch import Watch

KEEP_ORDERS: Final = timedelta(days=30)
"""A homeserver that was away for longer than that has sessions that are older than its absence."""

_CURSOR: Final = re.compile(r"([a-z0-9]{1,32})-([0-9]{1,19})")

_MAX_ACCOUNT_BYTES: Final = 18 * 1024
"""An account with more than this is told alone. It has more addresses than the contract knows,
from before there was a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a follower wants to know."""

    caller: str
    """The name of its token."""
    after: str
    """Its cursor."""
    wait: float
    """Seconds."""
    limit: int
    max_orders: int
    """0: it carries out none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a follower is told."""

    cursor: str
    changes: Sequence[Change]
    more: bool
    orders: Sequence[tuple[SignOutOrder, float]]
    """With the age of each, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One page of names that nobody may use."""

    cursor: str
    localparts: Sequence[str]
    more: bool


class Feed:
    """Tells followers what has changed. Every method may raise Throttled and StoreUnavailable."""

    def __init__(
        self,
        *,
        changes: Changes,
        orders: SignOutOrders,
        watch: Watch,
        throttle: Throttle,
        clock: Clock,
    ) -> None:
        """Make a feed.

        Args:
            changes: where it is kept.
            orders: where orders are kept.
            watch: looks at the head of `changes`.
            throttle: its own, and not that of the checks: a follower that asks too often must not
                keep anybody from logging in.
            clock: what the age of orders is measured with.
        """
        self._changes = changes
        self._orders = orders
        self._watch = watch
        self._throttle = throttle
        self._clock = clock
        self._database_id = ""
        self._shown: dict[str, int] = {}
        """For each caller with more orders than an answer holds, the place of the last one shown.
        Of this process: another one begins at the first, and shows all of them in turn as well."""

    async def changes(self, asked: Asked) -> Told:
        """Return what there is behind the cursor, or wait for it.

        Nobody waits while there are orders to carry out.

        Raises:
            CursorUnknown: the cursor is of another database, or of a later state of this one.
        """
        self._throttle.hit(source=None, caller=asked.caller)
        seq = await self._place(asked.after)
        told = await self._look(asked, seq)
        if told.changes or told.orders or not asked.wait:
            return told
        await self._watch.beyond(seq, seconds=asked.wait)
        return await self._look(asked, seq)

    async def locked(self, *, caller: str, after: str | None, limit: int) -> Locked:
        """Return up to `limit` names behind `after` that nobody may use."""
        self._throttle.hit(source=None, caller=caller)
        found = await self._changes.locked(after=after, limit=limit + 1)
        return Locked(
            cursor=await self._cursor(found.head),
            localparts=found.localparts[:limit],
            more=len(found.localparts) > limit,
        )

    async def acknowledge(self, ids: Sequence[str], *, caller: str) -> None:
        """These orders are carried out, or can't be."""
        self._throttle.hit(source=None, caller=caller)
        await self._orders.acknowledge(ids, caller=caller)

    async def _look(self, asked: Asked, seq: int) -> Told:
        stretch, orders = await asyncio.gather(
            self._changes.behind(seq, limit=asked.limit + 1), self._pending(asked)
        )
        if seq > stretch.head:
            raise CursorUnknown
        told = _together(stretch.changes[: asked.limit])
        now = self._clock.now()
        return Told(
            cursor=await self._cursor(told[-1].seq if told else seq),
            changes=told,
            more=len(told) < len(stretch.changes),
            # Not below zero: another machine may have given the order, by another clock.
            orders=[(each, max(0.0, (now - each.ordered_at).total_seconds())) for each in orders],
        )

    async def _pending(self, asked: Asked) -> Sequence[SignOutOrder]:
        """Return as many orders as an answer holds; of more than that, the next ones each time.

        Orders that a homeserver can't carry out must not hide those behind them for ever.
        """
        if not asked.max_orders:
            return ()
        caller, limit = asked.caller, asked.max_orders
        begin = self._shown.get(caller, 0)
        orders = list(await self._orders.pending(caller, after=begin, limit=limit))
        if begin and len(orders) < limit:
            first = await self._orders.pending(caller, limit=limit - len(orders))
            orders += [each for each in first if each.seq <= begin]
        if len(orders) == limit:
            self._shown[caller] = orders[-1].seq
        else:
            self._shown.pop(caller, None)
        return orders

    async def _place(self, cursor: str) -> int:
        parts = _CURSOR.fullmatch(cursor)
        if parts is None or parts[1] != await self._own_id():
            raise CursorUnknown
        return int(parts[2])

    async def _cursor(self, seq: int) -> str:
        return f"{await self._own_id()}-{seq}"

    async def _own_id(self) -> str:
        # It never changes under a running process.
        self._database_id = self._database_id or await self._changes.database_id()
        return self._database_id


def _together(changes: Sequence[Change]) -> Sequence[Change]:
    """Return the first of these, as many as fit into one answer of the contract.

    That is all of them, or those before the first account that is too large, or that one alone.
    """
    for count, change in enumerate(changes):
        if change.user is not None and _size(change) > _MAX_ACCOUNT_BYTES:
            return changes[: max(1, count)]
    return changes


def _size(change: Change) -> int:
    """Return how many bytes of JSON the texts of an account take."""
    if change.user is None:
        return 0
    texts = (change.user.display_name or "", *change.user.emails, *change.user.phones)
    # Quotes and commas around them, and a backslash before what needs one.
    return sum(len(text.encode()) + text.count('"') + text.count("\\") + 3 for text in texts)
