"""What one process knows of lanes is bounded."""

from datetime import timedelta

from lalepass_service.adapters.valkey.local import LocalLanes
from lalepass_service.adapters.valkey.state import View
from lalepass_service.core.softlock import FRESH, KNOWN_FOR, Bid, Lane, Ticket, Wait
from tests.lalepass_service.accounts import NOW

HOME = b"h" * 16
VIEW = View(epoch=b"one", since=None)


def a_bid(account: str, number: int = 1, *, source: bytes = b"") -> Bid:
    return Bid(account=account, guess=number.to_bytes(16), source=source)


def test_the_lane_that_nobody_has_been_at_for_longest_is_forgotten() -> None:
    local = LocalLanes(shares=4, most=3)
    for account in "abc":
        assert isinstance(local.pay(a_bid(account), now=NOW), Ticket)
    assert isinstance(local.pay(a_bid("a", 2), now=NOW), Wait)

    local.pay(a_bid("d"), now=NOW)

    assert len(local) == 3
    assert isinstance(local.pay(a_bid("a", 2), now=NOW), Wait)
    assert isinstance(local.pay(a_bid("b", 2), now=NOW), Ticket)


def test_sources_are_bounded_like_lanes() -> None:
    local = LocalLanes(shares=4, most=2)
    for account in "abc":
        ticket = local.pay(a_bid(account, source=HOME), now=NOW)
        assert isinstance(ticket, Ticket)
        local.settle(ticket, now=NOW)

    lanes = [local.pay(a_bid(account, source=HOME), now=NOW) for account in "abc"]

    assert [lane.lane for lane in lanes if isinstance(lane, Ticket)] == [b"", HOME, HOME]


def test_a_source_is_known_for_a_month() -> None:
    local = LocalLanes(shares=4)
    local.saw("a", HOME, Lane(failures=1), View(epoch=b"one", since=None, known_at=NOW))

    almost = local.pay(a_bid("a", source=HOME), now=NOW + KNOWN_FOR - timedelta(seconds=1))
    over = local.pay(a_bid("a", source=HOME), now=NOW + KNOWN_FOR)

    assert isinstance(almost, Ticket)
    assert isinstance(over, Ticket)
    assert (almost.lane, over.lane) == (HOME, b"")


def test_what_is_in_valkey_as_it_was_seen_is_not_missing() -> None:
    local = LocalLanes(shares=4)
    local.saw("a", b"", Lane(failures=5), VIEW)
    local.saw("b", b"", FRESH, VIEW)

    assert list(local.missing(epoch=b"one")) == []
    assert list(local.missing(epoch=b"two")) == [("a", b"", VIEW)]
    assert local.merged("a", b"", FRESH, VIEW) == FRESH
    lost = View(epoch=b"two", since=None)
    assert local.merged("a", b"", FRESH, lost) == Lane(failures=5)
    assert local.merged("c", b"", FRESH, lost) == FRESH


def test_a_guess_is_given_back_as_it_was_counted() -> None:
    """Here, it counted for all; if Valkey had counted it, it was one."""
    local = LocalLanes(shares=10)
    seen = Lane(failures=4, ring=((1).to_bytes(16),))
    local.saw("a", b"", seen, VIEW)
    here = local.pay(a_bid("a", 2), now=NOW)
    assert isinstance(here, Ticket)
    assert list(local.missing(epoch=b"one"))

    local.give_back(here)
    assert not list(local.missing(epoch=b"one"))
    there = Ticket(account="a", lane=b"", guess=(1).to_bytes(16), source=b"", paid=True)
    local.give_back(there)
    local.give_back(there)

    # Nine more would be a share of the hundred: nine of ten, after three that are left.
    taken = 0
    for number in range(20):
        later = NOW + timedelta(days=number + 1)
        taken += isinstance(local.pay(a_bid("a", 10 + number), now=later), Ticket)
    assert taken == 9
