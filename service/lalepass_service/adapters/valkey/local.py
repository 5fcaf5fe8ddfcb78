"""What this process knows of lanes by itself.

While Valkey answers, it is a memory of what was last seen there. When Valkey is away, guesses are
paid for here, by a share of the budget: one of as many as there are replicas (`core.softlock`).
When it is back, what was paid for here is charged there, and only added; and should it have lost
its data, what was seen there before is put back.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar

from lalepass_service.adapters.valkey.state import View
from lalepass_service.core.softlock import (
    FRESH,
    KNOWN_FOR,
    Bid,
    Debited,
    Lane,
    Ticket,
    Wait,
    as_by_the_rule,
    caught_up,
    charge,
    debit,
    give_back,
    raised,
)

V = TypeVar("V")

_MOST: Final = 100_000
"""Lanes, and sources, some 60 MB of each at worst. Beyond that, the one that nobody has been at for
longest is forgotten: to make one forgotten costs that many guesses at others."""


@dataclass(slots=True)
class _Known:
    """One lane, as this process knows it."""

    lane: Lane
    """What decides here. A guess that was paid for here counts as often as there are shares."""
    view: View
    seen: Lane = FRESH
    """What was last seen in Valkey."""
    made: dict[bytes, datetime] = field(default_factory=dict)
    """Guesses that were paid for here, and when, as long as Valkey knows nothing of them."""


class LocalLanes:
    """Keeps lanes in this process. Implements `state.Memory`."""

    def __init__(self, *, shares: int, most: int = _MOST) -> None:
        """Keep nothing yet.

        Args:
            shares: how many processes divide the budget.
            most: how many lanes are kept, and how many sources.
        """
        self._shares = shares
        self._most = most
        self._lanes: OrderedDict[tuple[str, bytes], _Known] = OrderedDict()
        self._sources: OrderedDict[tuple[str, bytes], View] = OrderedDict()
        self._ended: bytes | None = None
        """The name of the data that were there when an operator last began anew."""

    def pay(self, bid: Bid, *, now: datetime) -> Ticket | Wait:
        """Pay for a guess with this process's share, if it may be made."""
        lane = bid.source if self._knows(bid, now) else b""
        known = self._at(bid.account, lane, bid)
        known.lane = as_by_the_rule(known.lane, now=now, among=self._shares)
        decision = debit(known.lane, guess=bid.guess, now=now, among=self._shares)
        if isinstance(decision, Wait):
            return decision
        if isinstance(decision, Debited):
            known.lane = decision.lane
            known.made[bid.guess] = now
        return bid.ticket(lane=lane, paid=isinstance(decision, Debited))

    def settle(self, ticket: Ticket, *, now: datetime) -> None:
        """The guess was right: nothing of its lane counts any more, and its source is known.

        What Valkey counts stays there, and goes with the next right password.
        """
        self._lanes.pop((ticket.account, ticket.lane), None)
        if ticket.source:
            view = View(epoch=None, since=ticket.since, known_at=now)
            _remember(self._sources, (ticket.account, ticket.source), view, self._most)

    def give_back(self, ticket: Ticket) -> None:
        """The guess could not be verified: undo the debit, if it was made here or was seen."""
        known = self._lanes.get((ticket.account, ticket.lane))
        if known is None or not ticket.paid:
            return
        here = known.made.pop(ticket.guess, None) is not None
        known.lane = give_back(known.lane, guess=ticket.guess, among=self._shares if here else 1)

    def charge(self, ticket: Ticket, *, now: datetime) -> None:
        """A repeated guess was wrong: debit it now if nobody's debit stands for it any more."""
        known = self._at(ticket.account, ticket.lane, ticket)
        charged = charge(known.lane, guess=ticket.guess, now=now, among=self._shares)
        if charged != known.lane:
            known.lane = charged
            known.made[ticket.guess] = now

    def forget(self, account: str) -> None:
        """Forget an account's lanes and sources."""
        for kept in (self._lanes, self._sources):
            for key in [key for key in kept if key[0] == account]:
                del kept[key]

    def begin_anew(self, ended: bytes) -> None:
        """Forget all: an operator has begun anew. `ended` is the name of the data until then."""
        self._lanes.clear()
        self._sources.clear()
        self._ended = ended

    def merged(self, account: str, lane: bytes, there: Lane, view: View) -> Lane:
        """Return what is in Valkey, with what is missing of it. Never less than what is there."""
        known = self._lanes.get((account, lane))
        if known is None or _is_older(known.view.since, view.since):
            return there
        if known.view.unlocked != view.unlocked:
            # One of the two is from before an unlock, and the other has nothing to do with it.
            return there
        if known.view.epoch != view.epoch:
            there = raised(there, seen=known.seen)
        return caught_up(there, made=known.made.items())

    def saw(self, account: str, lane: bytes, there: Lane, view: View) -> None:
        """Take down what is in Valkey now."""
        if self._ended is not None and view.epoch == self._ended:
            return  # it was read before it was deleted
        known = self._lanes.get((account, lane))
        if known is not None and _is_older(view.unlocked, known.view.unlocked):
            return  # by somebody who does not know yet that it is unlocked
        if there == FRESH:
            self._lanes.pop((account, lane), None)
        else:
            known = _Known(lane=there, seen=there, view=view)
            _remember(self._lanes, (account, lane), known, self._most)
        if lane and view.known_at is not None:
            _remember(self._sources, (account, lane), view, self._most)

    def missing(self, *, epoch: bytes | None) -> Iterable[tuple[str, bytes, View]]:
        """Return the lanes that Valkey does not know as they are, and as of when."""
        return [
            (account, lane, known.view)
            for (account, lane), known in self._lanes.items()
            if known.made or (known.view.epoch != epoch and known.seen != FRESH)
        ]

    def __len__(self) -> int:
        return len(self._lanes)

    def _at(self, account: str, lane: bytes, of: Bid | Ticket) -> _Known:
        known = self._lanes.get((account, lane))
        if (
            known is None
            or _is_older(known.view.since, of.since)
            or _is_older(known.view.unlocked, of.unlocked)
        ):
            known = _Known(lane=FRESH, view=View(epoch=None, since=of.since, unlocked=of.unlocked))
        elif of.since is not None:
            known.view = replace(known.view, since=of.since)
        _remember(self._lanes, (account, lane), known, self._most)
        return known

    def _knows(self, bid: Bid, now: datetime) -> bool:
        view = self._sources.get((bid.account, bid.source))
        if view is None or view.known_at is None or _is_older(view.since, bid.since):
            return False
        return now - view.known_at < KNOWN_FOR


def _is_older(one: datetime | None, other: datetime | None) -> bool:
    """Whether a password was set before another one, or an account unlocked."""
    return other is not None and (one is None or one < other)


def _remember(
    kept: OrderedDict[tuple[str, bytes], V], key: tuple[str, bytes], value: V, most: int
) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
