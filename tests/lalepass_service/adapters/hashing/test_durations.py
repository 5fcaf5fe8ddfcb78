"""What is known of how long work takes, by its kind."""

import pytest

from lalepass_service.adapters.hashing.durations import OWN, Durations


def test_each_kind_has_an_average_of_its_own() -> None:
    durations = Durations(own=0.01)
    durations.of("slow").took(4)

    assert durations.own.seconds == 0.01
    assert durations.of("slow").seconds == 4
    assert durations.of(OWN) is durations.own


def test_the_first_durations_count_for_more() -> None:
    """The first one has the start of a process in it, and should not stay for long."""
    slow = Durations(own=0.01).of("slow")
    for seconds in (3.0, 1.0, 2.0):
        slow.took(seconds)

    assert slow.seconds == pytest.approx(2)
    for _ in range(100):
        slow.took(1)
    assert slow.seconds == pytest.approx(1, abs=0.01)


def test_the_average_follows_about_the_last_twenty() -> None:
    durations = Durations(own=1)
    for _ in range(1000):
        durations.own.took(1)
    durations.own.took(2)

    assert durations.own.seconds == pytest.approx(1.1)


def test_what_was_never_measured_may_take_any_time() -> None:
    new = Durations(own=0.01).of("new")

    assert new.may_take(1000)
    new.took(0.5)
    assert not new.may_take(0.5)
    assert new.may_take(0.4)


def test_what_is_ahead_is_the_sum_of_what_each_takes() -> None:
    durations = Durations(own=0.5)
    durations.of("slow").took(4)
    durations.own.inside, durations.of("slow").inside = 2, 1

    assert durations.ahead(coming=0) == 5
    # Nobody knows yet what they are: like those that are here.
    assert durations.ahead(coming=3) == 10


def test_with_nobody_inside_those_who_come_are_ours() -> None:
    durations = Durations(own=0.5)
    durations.of("slow").took(4)

    assert durations.ahead(coming=2) == 1


def test_kinds_are_bounded() -> None:
    durations = Durations(own=1)
    kinds = {id(durations.of(f"rounds={number}")) for number in range(1000)}

    assert len(kinds) <= 65
    assert durations.of("rounds=998") is durations.of("rounds=999")
    assert durations.of("rounds=1") is not durations.of("rounds=2")
