"""Long polls decide nothing about logins: which endpoint they get, and when it is asked again."""

from itertools import pairwise

import pytest

from lalepass_provider.errors import (
    Broken,
    CallerRejected,
    ContractBroken,
    Lost,
    NoAnswer,
    NotConnected,
    Overloaded,
    TooSlow,
    Unreachable,
)
from lalepass_provider.health import State
from tests.lalepass_provider.site import (
    DEADLINE,
    NEVER,
    OK,
    OTHER,
    PATIENCE,
    Means,
    Site,
    failure_of,
)

FAULTS = {
    "lost": Lost("cut off"),
    "slow": TooSlow("slow", begun=True),
    "broken": Broken("garbage"),
    "500": Means(Unreachable("500")),
    "html": Means(ContractBroken("html")),
    "401": Means(CallerRejected("401")),
    "overloaded": Means(Overloaded("busy", retry_after=5)),
}


def fail_a_poll(site: Site) -> None:
    assert isinstance(failure_of(site.poll()), NoAnswer)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_poll_without_an_answer_takes_no_endpoint_from_the_checks(fault: object) -> None:
    site = Site(OK, OTHER)
    site.polls_get = [fault, fault]
    for _ in range(4):
        fail_a_poll(site)

    assert sorted(str(site.ask()) for _ in range(4)) == ["200", "200", "201", "201"]
    assert site.probes() == [0, 0]


def test_polls_that_time_out_take_no_endpoint_from_the_checks() -> None:
    site = Site(OK, OTHER)
    site.polls_get = [NEVER, NEVER]
    held = [site.poll() for _ in range(4)]
    site.clock.advance(DEADLINE)
    for poll in held:
        assert isinstance(failure_of(poll), TooSlow)

    assert {site.ask() for _ in range(2)} == {200, 201}
    assert site.probes() == [0, 0]


@pytest.mark.parametrize("fault", [NEVER, TooSlow("slow", begun=True), Lost("cut off")], ids=repr)
def test_who_insists_asks_another_when_patience_ends(fault: object) -> None:
    """As a replica whose machine has lost its power: it says no more, and nothing else tells."""
    site = Site(OK, OK)
    site.polls_get = [fault, OTHER]
    call = site.poll(patience=PATIENCE, insist=True)
    if fault is NEVER:
        site.clock.advance(PATIENCE - 0.1)
        assert not call.called
        site.clock.advance(0.1)

    assert call.result == 201
    assert site.polls() == [1, 1]


def test_who_insists_asks_the_only_one_again_over_a_new_connection() -> None:
    site = Site(OK)
    site.polls_get = [NEVER]
    call = site.poll(patience=PATIENCE, insist=True)
    site.clock.advance(PATIENCE - 0.1)
    site.polls_get = [OTHER]
    site.clock.advance(0.1)

    assert call.result == 201
    assert site.polls() == [2]
    assert site.transports[0].dropped == 1


def test_who_insists_asks_once_more_and_no_more() -> None:
    site = Site(OK, OK, OK)
    site.polls_get = [NEVER, NEVER, NEVER]
    call = site.poll(patience=PATIENCE, insist=True)
    site.clock.advance(PATIENCE)
    site.clock.advance(DEADLINE - PATIENCE)

    assert isinstance(failure_of(call), TooSlow)
    assert sum(site.polls()) == 2


def test_that_there_is_no_connection_counts_for_all() -> None:
    site = Site(OTHER, OK)
    site.polls_get[0] = site.probes_get[0] = NotConnected("refused")
    while not site.polls()[0]:
        assert site.poll().result == 200  # the other one is asked

    assert [site.ask() for _ in range(4)] == [200] * 4
    site.clock.advance(0.5)
    assert site.probes()[0] == 1


def test_a_poll_is_never_the_call_on_trial() -> None:
    site = Site(NotConnected("refused"), OK)
    site.ask()
    site.clock.advance(0.5)  # the probe is good
    site.polls_get = [NEVER, NEVER]
    held = [site.poll() for _ in range(3)]
    assert site.polls() == [0, 3]

    site.says[0] = OTHER
    assert OTHER.status in [site.ask() for _ in range(2)]
    for poll in held:
        poll.addErrback(lambda _: None)
        poll.cancel()


def test_polls_under_way_keep_no_check_from_one_on_trial() -> None:
    site = Site(NotConnected("refused"), NotConnected("refused"))
    site.polls_get = [NEVER, NEVER]
    held = [site.poll() for _ in range(2)]  # one with each
    assert site.polls() == [1, 1]
    site.ask()
    site.clock.advance(0.7)  # both are on trial
    site.says = [OK, OTHER]

    assert {site.ask() for _ in range(2)} == {200, 201}
    for poll in held:
        poll.addErrback(lambda _: None)
        poll.cancel()


def test_a_poll_with_an_answer_does_not_make_an_endpoint_well() -> None:
    site = Site(Means(Unreachable("500")), OK)
    site.probes_get[0] = NotConnected("refused")
    site.ask()
    site.polls_get[1] = NotConnected("refused")
    assert site.poll().result == 200  # for want of another

    assert site.polls()[0] == 1
    assert site.states() == [State.DOWN, State.DOWN]


def test_polls_and_checks_are_spread_by_themselves() -> None:
    site = Site(OK, OTHER)
    site.polls_get = [NEVER, NEVER]
    held = [site.poll()]

    assert sorted(str(site.ask()) for _ in range(4)) == ["200", "200", "201", "201"]
    held.append(site.poll())
    assert site.polls() == [1, 1]
    for poll in held:
        poll.addErrback(lambda _: None)
        poll.cancel()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_polls_leave_one_alone_that_has_failed_them(fault: object) -> None:
    site = Site(OK, OK)
    site.polls_get[0] = fault
    while not site.polls()[0]:
        site.poll().addErrback(lambda _: None)
    before = site.polls()

    assert [site.poll().result for _ in range(5)] == [200] * 5
    assert site.polls() == [before[0], before[1] + 5]
    site.clock.advance(5)
    site.polls_get[0] = OK
    assert [site.poll().result for _ in range(4)] == [200] * 4
    assert site.polls()[0] == before[0] + 2


def test_one_that_fails_polls_again_and_again_is_left_alone_for_longer() -> None:
    site = Site(OK, OK)
    site.polls_get[0] = Broken("garbage")
    came: list[float] = []
    for _ in range(1200):
        before = site.polls()[0]
        site.poll().addErrback(lambda _: None)
        if site.polls()[0] > before:
            came.append(site.clock.seconds())
        site.clock.advance(0.1)

    pauses = [later - earlier for earlier, later in pairwise(came)]
    assert pauses[:7] == pytest.approx([0.5, 1, 2, 4, 8, 16, 30], abs=0.31)


def test_if_all_have_failed_the_polls_one_is_asked_all_the_same() -> None:
    site = Site(OK, OK)
    site.polls_get = [Broken("garbage"), Broken("garbage")]
    for _ in range(6):
        fail_a_poll(site)

    assert sum(site.polls()) == 6
    site.polls_get = [OK, OK]
    assert site.poll().result == 200


def test_a_check_that_fails_sends_the_polls_to_another() -> None:
    site = Site(NEVER, OK)
    site.probes_get[0] = NEVER
    checks = [site.begin() for _ in range(2)]
    site.clock.advance(PATIENCE)
    assert {check.result for check in checks} == {200}

    assert [site.poll().result for _ in range(4)] == [200] * 4
    assert site.polls() == [0, 4]
