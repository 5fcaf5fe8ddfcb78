"""Which endpoint is asked, and how often."""

import pytest
from twisted.internet import defer

from lalepass_provider.errors import (
    Broken,
    CallerRejected,
    ContractBroken,
    CursorUnknown,
    Lost,
    NoAnswer,
    NotConnected,
    NotServed,
    Overloaded,
    ScopeMissing,
    Throttled,
    TooSlow,
    Unreachable,
)
from tests.lalepass_provider.site import DEADLINE, NEVER, OK, PATIENCE, Means, Site, failure_of


def test_calls_are_spread_over_all() -> None:
    site = Site(OK, OK, OK)

    for _ in range(9):
        assert site.ask() == 200

    assert site.calls() == [3, 3, 3]


def test_the_one_with_the_least_to_do_is_asked() -> None:
    site = Site(NEVER, OK)
    held = [site.begin() for _ in range(2)]  # one of them is with the first

    for _ in range(4):
        assert site.ask() == 200
    assert site.calls() == [1, 5]
    for call in held:
        call.addErrback(lambda _: None)
        call.cancel()


@pytest.mark.parametrize("fault", [NotConnected("refused"), Lost("cut off")])
def test_a_dead_one_among_two_fails_no_call_and_is_then_left_alone(fault: NoAnswer) -> None:
    site = Site(fault, OK)
    site.probes_get[0] = NotConnected("refused")

    assert [site.ask() for _ in range(20)] == [200] * 20
    assert site.calls() == [1, 20]


def test_two_dead_ones_among_three_fail_no_call() -> None:
    site = Site(NotConnected("refused"), NotConnected("refused"), OK)

    assert site.ask() == 200


def test_what_was_sent_is_sent_once_more_and_not_thrice() -> None:
    site = Site(Lost("cut off"), Lost("cut off"), Lost("cut off"))

    assert isinstance(site.ask(), Lost)
    assert sum(site.calls()) == 2


def test_one_endpoint_alone_is_asked_twice_on_a_new_connection() -> None:
    site = Site(Lost("cut off"))

    assert isinstance(site.ask(), Lost)
    assert site.calls() == [2]
    assert site.transports[0].dropped >= 1


def test_a_lost_connection_is_tried_again_before_one_that_is_down() -> None:
    site = Site(NotConnected("refused"), OK)
    assert site.ask() == 200
    site.says[1] = Lost("cut off")

    site.ask()

    assert site.calls()[1] == 3


@pytest.mark.parametrize(
    "fault",
    [
        Broken("garbage"),
        TooSlow("slow", begun=True),
        Means(Unreachable("500")),
        Means(ContractBroken("html")),
        Means(CallerRejected("401")),
        Means(Throttled("429")),
    ],
    ids=["broken", "slow", "500", "html", "401", "429"],
)
def test_after_a_byte_of_an_answer_nothing_is_sent_again(fault: object) -> None:
    site = Site(fault, OK)

    assert isinstance(site.ask(), NoAnswer)
    assert site.calls() == [1, 0]


@pytest.mark.parametrize(
    ("said", "left_alone"),
    [
        (Means(Unreachable("500")), True),
        (Means(ContractBroken("html")), True),
        (Means(CallerRejected("401")), True),
        (Means(Throttled("429")), False),
        (Means(CursorUnknown("no such cursor")), False),
        (Means(ScopeMissing("403")), False),
        (Means(NotServed("404")), False),
    ],
    ids=["500", "html", "401", "429", "another cursor", "403", "404"],
)
def test_one_that_makes_no_sense_is_left_alone(said: object, left_alone: bool) -> None:  # noqa: FBT001 - a parameter of the test
    site = Site(said, OK)
    site.ask()

    for _ in range(4):
        site.ask()

    assert site.calls() == ([1, 4] if left_alone else [3, 2])


def test_a_silent_one_costs_patience_once() -> None:
    site = Site(NEVER, OK)
    call = site.begin()
    site.clock.advance(PATIENCE - 0.1)
    assert not call.called
    site.clock.advance(0.1)

    assert call.result == 200
    assert [site.ask() for _ in range(10)] == [200] * 10
    assert site.calls() == [1, 11]


def test_without_another_a_call_has_all_of_its_time() -> None:
    site = Site(NEVER)
    call = site.begin()
    site.clock.advance(DEADLINE - 0.1)
    assert not call.called
    site.clock.advance(0.1)

    assert isinstance(failure_of(call), TooSlow)
    assert site.calls() == [1]


def test_all_of_it_ends_at_the_deadline() -> None:
    site = Site(NEVER, NEVER, NEVER)
    call = site.begin()
    site.clock.advance(PATIENCE)
    assert not call.called
    site.clock.advance(DEADLINE - PATIENCE)

    assert isinstance(failure_of(call), TooSlow)
    assert sum(site.calls()) == 2


def test_whoever_has_no_patience_waits_for_one() -> None:
    site = Site(NEVER, OK)
    call = site.begin(patience=None)
    site.clock.advance(DEADLINE - 0.1)
    assert not call.called
    site.clock.advance(0.1)

    assert isinstance(failure_of(call), TooSlow)
    assert site.calls() == [1, 0]


def test_an_overloaded_one_sends_the_call_to_the_other_and_is_spared() -> None:
    site = Site(Means(Overloaded("busy", retry_after=2)), OK)

    assert [site.ask() for _ in range(4)] == [200] * 4
    assert site.calls() == [1, 4]
    site.clock.advance(2)
    site.says[0] = OK
    assert [site.ask() for _ in range(4)] == [200] * 4
    assert site.calls() == [3, 6]
    assert site.probes() == [0, 0]


def test_if_all_are_overloaded_nobody_asks_around() -> None:
    busy = Means(Overloaded("busy", retry_after=2))
    site = Site(busy, busy, busy)

    assert isinstance(site.ask(), Overloaded)
    assert sum(site.calls()) == 2  # the first, and one other
    assert isinstance(site.ask(), Overloaded)
    assert sum(site.calls()) == 3  # the last that was not known to be busy
    assert isinstance(site.ask(), Overloaded)
    assert sum(site.calls()) == 4


def test_an_overload_is_not_passed_on_to_one_that_is_down() -> None:
    site = Site(OK, NotConnected("refused"))
    site.probes_get[1] = NotConnected("refused")
    assert [site.ask() for _ in range(3)] == [200] * 3
    before = site.calls()[1]
    site.says[0] = Means(Overloaded("busy"))

    assert isinstance(site.ask(), Overloaded)
    assert site.calls()[1] == before


def test_if_all_are_down_each_call_tries_each() -> None:
    site = Site(NotConnected("refused"), NotConnected("refused"))
    for number in (0, 1):
        site.probes_get[number] = NotConnected("refused")
    for _ in range(3):
        assert isinstance(site.ask(), NotConnected)
    assert site.calls() == [3, 3]

    site.says[1] = OK  # back: nobody has to wait for a probe
    assert site.ask() == 200


def test_if_all_are_down_the_one_that_says_no_at_once_is_asked_first() -> None:
    site = Site(NEVER, NotConnected("refused"))
    held = [site.begin() for _ in range(2)]
    site.clock.advance(DEADLINE)
    for call in held:
        failure_of(call)
    before = site.calls()
    site.says[1] = OK

    assert site.ask() == 200
    assert site.calls() == [before[0], before[1] + 1]


def test_who_was_down_must_connect_quickly_while_others_are_left() -> None:
    site = Site(NotConnected("refused"), NotConnected("refused"))
    site.ask()
    for one in site.transports:
        one.connect_seconds.clear()
    site.ask()

    brief, usual = (one.connect_seconds[0] for one in site.transports)
    assert sorted([brief is None, usual is None]) == [False, True]


def test_a_cancelled_call_asks_nobody_else_and_blames_nobody() -> None:
    site = Site(NEVER, OK)
    call = site.begin()
    call.cancel()

    with pytest.raises(defer.CancelledError):
        call.result.raiseException()  # type: ignore[attr-defined]  # a Failure
    call.addErrback(lambda _: None)
    assert site.calls() == [1, 0]
    site.says[0] = OK
    assert [site.ask() for _ in range(2)] == [200] * 2
    assert site.calls() == [2, 1]
