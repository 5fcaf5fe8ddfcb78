"""Lanes, a throttle and a trail that can be looked at."""

from datetime import datetime
from typing import TYPE_CHECKING

from lalepass_service.core.audit import Entry
from lalepass_service.core.model import UserId
from lalepass_service.core.softlock import (
    FRESH,
    KNOWN_FOR,
    NAMES_KEPT,
    NOBODY,
    SEEN_AGAIN,
    Bid,
    Debited,
    Lane,
    Ticket,
    Wait,
    as_by_the_rule,
    charge,
    debit,
    give_back,
)

if TYPE_CHECKING:
    from lalepass_service.core.errors import NoAnswer, Throttled


class MemorySoftLocks:
    """Lanes in a dictionary. Implements `core.ports.SoftLocks`."""

    def __init__(self, *, names_kept: int = NAMES_KEPT) -> None:
        self._names_kept = names_kept
        self._lanes: dict[tuple[str, bytes], tuple[Lane, datetime]] = {}
        self._known: dict[tuple[str, bytes], datetime] = {}
        self.acts: list[Entry] = []
        """What was written into the trail."""
        self.failure: NoAnswer | None = None
        """Raised by every call while it is set, such as StoreUnavailable."""

    async def pay(self, bid: Bid, *, now: datetime) -> Ticket | Wait:
        """Pay for a guess before it is made, if it may be made."""
        self._answer()
        account, source = bid.account, bid.source
        seen_at = self._known.get((account, source))
        lane = source if seen_at is not None and now - seen_at < KNOWN_FOR else b""
        before = self._lane(account, lane)
        there = as_by_the_rule(before, now=now)
        if there != before:
            self._lanes[account, lane] = there, now
        decision = debit(there, guess=bid.guess, now=now)
        if isinstance(decision, Wait):
            return decision
        if isinstance(decision, Debited):
            self._lanes[account, lane] = decision.lane, now
        return bid.ticket(lane=lane, paid=isinstance(decision, Debited))

    def settle(self, ticket: Ticket, *, user_id: UserId, now: datetime) -> None:
        """The guess was right: begin anew in its lane, and know its source from now on."""
        if self.failure is not None:
            return
        self._lanes.pop((ticket.account, ticket.lane), None)
        seen_at = self._known.get((user_id, ticket.source))
        if ticket.source and (seen_at is None or now - seen_at >= SEEN_AGAIN):
            self._known[user_id, ticket.source] = now

    async def give_back(self, ticket: Ticket, *, now: datetime) -> None:
        """The guess could not be verified: undo the debit."""
        self._answer()
        if ticket.paid:
            lane = self._lane(ticket.account, ticket.lane)
            self._change(ticket, lane, give_back(lane, guess=ticket.guess), now)

    async def charge(self, ticket: Ticket, *, now: datetime) -> None:
        """A repeated guess was wrong: debit it now if nobody's debit stands for it any more."""
        self._answer()
        lane = self._lane(ticket.account, ticket.lane)
        self._change(ticket, lane, charge(lane, guess=ticket.guess, now=now), now)

    async def lanes(
        self, account: str, *, since: datetime | None = None, unlocked: datetime | None = None
    ) -> tuple[Lane, ...]:
        """Return what is remembered of wrong passwords, for every lane that has any."""
        del since, unlocked  # what they void is gone
        self._answer()
        found = sorted(key for key in self._lanes if key[0] == account)
        return tuple(self._lanes[key][0] for key in found)

    async def unlock(
        self, account: str, *, act: Entry | None, now: datetime, unlocked: datetime | None = None
    ) -> bool:
        """Forget all wrong passwords. Returns False if there were none."""
        del now, unlocked
        self._answer()
        found = [key for key in self._lanes if key[0] == account]
        for key in found:
            del self._lanes[key]
        if found and act is not None:
            self.acts.append(act)
        return bool(found)

    async def forget(self, account: str) -> None:
        """Forget wrong passwords and known sources."""
        self._answer()
        for kept in (self._lanes, self._known):
            for key in [key for key in kept if key[0] == account]:
                del kept[key]

    async def sweep(self, *, before: datetime) -> int:
        """Forget sources and their lanes, unless used since, and names that are too many."""
        self._answer()
        old = {key: at for key, (_, at) in self._lanes.items() if at < before}
        names = sorted((at for key, at in old.items() if key[0].endswith(NOBODY)), reverse=True)
        names_from = [before, *names][min(self._names_kept, len(names))]
        lanes = [
            key
            for key, at in old.items()
            if key[1] or (key[0].endswith(NOBODY) and at < names_from)
        ]
        sources = [key for key, seen_at in self._known.items() if seen_at < before]
        for key in lanes:
            del self._lanes[key]
        for key in sources:
            del self._known[key]
        return len(lanes) + len(sources)

    def _lane(self, account: str, lane: bytes) -> Lane:
        state, _ = self._lanes.get((account, lane), (FRESH, None))
        return state

    def _change(self, ticket: Ticket, lane: Lane, changed: Lane, now: datetime) -> None:
        if changed != lane:
            self._lanes[ticket.account, ticket.lane] = changed, now

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure


class NoThrottle:
    """Lets everything through, and counts. Implements `core.ports.Throttle`."""

    def __init__(self) -> None:
        self.hits: list[tuple[str | None, str]] = []
        self.failure: Throttled | None = None
        """Raised by every call while it is set."""

    def hit(self, *, source: str | None, caller: str) -> None:
        """Count a request."""
        self.hits.append((source, caller))
        if self.failure is not None:
            raise self.failure


class MemoryTrail:
    """Keeps the entries in a list. Implements `core.ports.Trail`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def record(self, entry: Entry) -> None:
        """Take an entry."""
        self.entries.append(entry)
