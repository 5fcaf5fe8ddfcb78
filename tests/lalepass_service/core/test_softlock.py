"""The rule for guesses at one account, against a model and in any order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lalepass_service.core.softlock import (
    FRESH,
    GUESS_BYTES,
    RING_SIZE,
    STOP_AT,
    Bid,
    Debited,
    Lane,
    Repeated,
    Ticket,
    Wait,
    as_by_the_rule,
    caught_up,
    charge,
    debit,
    give_back,
    raised,
    seconds_after,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def guess(number: int) -> bytes:
    return number.to_bytes(GUESS_BYTES)


def wrong(lane: Lane, number: int, now: datetime) -> Lane:
    decision = debit(lane, guess=guess(number), now=now)
    assert isinstance(decision, Debited), decision
    return decision.lane


def after(failures: int) -> tuple[Lane, datetime]:
    """Return a lane after so many different wrong passwords, each as soon as it was allowed."""
    lane, now = FRESH, NOW
    for number in range(failures):
        now = lane.not_before or now
        lane = wrong(lane, number, now)
    return lane, now


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 3),
        (5, 5),
        (6, 10),
        (24, 10),
        (25, 30),
        (26, 45),
        (27, 67.5),
        (40, 3600),
        (99, 3600),
    ],
)
def test_the_waits_grow_as_designed(failures: int, seconds: float) -> None:
    assert seconds_after(failures) == seconds
    lane, now = after(failures)
    decision = debit(lane, guess=guess(1000), now=now)
    assert decision == Wait(seconds) if seconds else isinstance(decision, Debited)


def test_a_hundred_wrong_ones_in_a_row_close_the_lane() -> None:
    lane, now = after(STOP_AT)

    assert lane.closed
    later = now + timedelta(days=3650)
    assert isinstance(debit(lane, guess=guess(1000), now=later), Wait)
    assert isinstance(debit(lane, guess=guess(STOP_AT - 1), now=later), Wait)


def test_the_same_wrong_password_is_no_new_guess() -> None:
    lane, now = after(10)
    later = now + timedelta(hours=1)

    for number in range(10 - RING_SIZE, 10):
        assert debit(lane, guess=guess(number), now=later) == Repeated()


def test_the_ring_forgets_the_oldest() -> None:
    lane, now = after(RING_SIZE + 1)

    decision = debit(lane, guess=guess(0), now=now + timedelta(hours=1))

    assert isinstance(decision, Debited)
    assert len(decision.lane.ring) == RING_SIZE


def test_a_wait_is_not_made_longer_by_those_who_do_not_wait() -> None:
    lane, now = after(6)

    for _ in range(1000):
        assert debit(lane, guess=guess(1000), now=now) == Wait(10)


@given(st.integers(0, STOP_AT - 1), st.integers(0, 10_000))
def test_a_debit_that_is_given_back_leaves_no_trace_but_the_wait(failures: int, new: int) -> None:
    lane, now = after(failures)
    now = lane.not_before or now
    decision = debit(lane, guess=guess(10_000 + new), now=now)
    assert isinstance(decision, Debited)

    back = give_back(decision.lane, guess=guess(10_000 + new))

    assert back.failures == lane.failures
    assert guess(10_000 + new) not in back.ring
    assert back.not_before is None


@given(
    st.integers(0, STOP_AT - 1),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)),
    st.sampled_from([1, 4]),
)
def test_a_clock_that_was_wrong_holds_nobody_up_for_longer_than_the_rule(
    failures: int, ahead: timedelta, among: int
) -> None:
    lane, at = FRESH, NOW + ahead
    for number in range(failures // among):
        at = max(at, lane.not_before or at)
        decision = debit(lane, guess=guess(number), now=at, among=among)
        assert isinstance(decision, Debited)
        lane = decision.lane

    now = at - ahead
    lane = as_by_the_rule(lane, now=now, among=among)
    decision = debit(lane, guess=guess(1000), now=now, among=among)
    if isinstance(decision, Wait) and lane.failures + among <= STOP_AT:
        assert decision.seconds <= seconds_after(lane.failures, among=among) + 60
        told = now + timedelta(seconds=decision.seconds)
        lane = as_by_the_rule(lane, now=told, among=among)
        decision = debit(lane, guess=guess(1000), now=told, among=among)
        assert isinstance(decision, Debited)
    # None of them is free.
    assert decision == Wait(3600) or isinstance(decision, Debited)


def test_a_wait_that_a_wrong_clock_made_long_becomes_that_of_the_rule() -> None:
    lane, now = after(6)
    wrong = replace(lane, not_before=now + timedelta(days=1))

    assert as_by_the_rule(wrong, now=now) == replace(lane, not_before=now + timedelta(seconds=10))


@pytest.mark.parametrize("seconds", [-3600, 0, 9, 10, 11, 69])
def test_clocks_that_differ_a_little_change_no_lane(seconds: int) -> None:
    """Replicas are never quite at one, and to write at each look would cost more than it mends."""
    lane, now = after(6)
    lane = replace(lane, not_before=now + timedelta(seconds=seconds))

    assert as_by_the_rule(lane, now=now) is lane
    if seconds > 0:
        assert debit(lane, guess=guess(1000), now=now) == Wait(seconds)


def test_a_lane_without_a_wait_is_by_the_rule() -> None:
    assert as_by_the_rule(FRESH, now=NOW) is FRESH


def test_a_guess_that_rode_on_anothers_debit_is_charged_if_that_was_given_back() -> None:
    lane, now = after(2)
    given_back = give_back(lane, guess=guess(1))

    assert charge(lane, guess=guess(1), now=now) == lane
    charged = charge(given_back, guess=guess(1), now=now)
    assert charged.failures == 2
    assert guess(1) in charged.ring


@pytest.mark.parametrize("failures", [2, 3, 4, 5, 6, 7, 25, 26, 30, 99])
def test_a_debit_that_is_given_back_after_others_leaves_theirs(failures: int) -> None:
    """As if the newest had been made without it, also in how long it waits."""
    lane, now = after(failures)
    oldest, *others = lane.ring

    back = give_back(lane, guess=oldest)

    wait = seconds_after(failures - 1)
    until = now + timedelta(seconds=wait) if wait else None
    assert back == Lane(failures=failures - 1, not_before=until, ring=tuple(others))
    # What is said is what it takes.
    decision = debit(back, guess=guess(10_000), now=now)
    assert decision == Wait(wait) if wait else isinstance(decision, Debited)
    later = now + timedelta(seconds=wait)
    assert isinstance(debit(back, guess=guess(10_000), now=later), Debited)


def test_what_was_never_debited_can_not_be_given_back() -> None:
    lane, _ = after(5)

    assert give_back(lane, guess=guess(1000)) == lane


class Guessing(RuleBasedStateMachine):
    """Somebody guesses, waits, repeats, is let in: the counter never says less than it should."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = FRESH
        self.now = NOW
        self.in_a_row: list[bytes] = []

    @rule(number=st.integers(0, 400))
    def guess_wrong(self, number: int) -> None:
        before = self.lane
        decision = debit(before, guess=guess(number), now=self.now)
        if isinstance(decision, Debited):
            assert guess(number) not in before.ring
            self.in_a_row.append(guess(number))
            self.lane = decision.lane
        elif isinstance(decision, Repeated):
            assert guess(number) in self.in_a_row
        else:
            assert decision.seconds > 0

    @precondition(lambda self: self.in_a_row)
    @rule()
    def guess_the_last_one_again(self) -> None:
        decision = debit(self.lane, guess=self.in_a_row[-1], now=self.now)
        assert isinstance(decision, Repeated | Wait)

    @rule(seconds=st.floats(0.01, 5000))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def wait_as_told(self) -> None:
        if self.lane.not_before is not None:
            self.now = max(self.now, self.lane.not_before)

    @rule()
    def the_right_password(self) -> None:
        self.lane = FRESH
        self.in_a_row = []

    @invariant()
    def every_wrong_one_is_counted(self) -> None:
        assert self.lane.failures == len(self.in_a_row)
        assert self.lane.failures <= STOP_AT

    @invariant()
    def the_next_guess_is_as_far_away_as_it_should_be(self) -> None:
        if self.lane.not_before is not None:
            longest = timedelta(seconds=seconds_after(self.lane.failures))
            assert self.lane.not_before - self.now <= longest


TestGuessing = Guessing.TestCase


def times_of(among: int) -> list[float]:
    """Return when one of so many processes takes its guesses if somebody tries all the time."""
    times: list[float] = []
    lane, now = FRESH, NOW
    number = 0
    while True:
        decision = debit(lane, guess=guess(number), now=now, among=among)
        if isinstance(decision, Wait):
            assert lane.failures + among > STOP_AT
            return times
        assert isinstance(decision, Debited)
        times.append((now - NOW).total_seconds())
        lane, number = decision.lane, number + 1
        now = lane.not_before or now


@pytest.mark.parametrize(
    ("among", "free", "second", "in_all"),
    [
        (1, 3, 0, 100),
        (2, 1, 2, 50),
        (3, 1, 15, 33),
        (4, 1, 40, 25),
        (8, 1, 80, 12),
        (64, 1, None, 1),
    ],
)
def test_processes_that_divide_a_budget_count_each_guess_for_all(
    among: int, free: int, second: float | None, in_all: int
) -> None:
    times = times_of(among)

    assert times.count(0) == free
    assert times[1:2] == ([] if second is None else [second])
    assert len(times) == in_all


@pytest.mark.parametrize("among", range(2, 17))
def test_all_together_take_no_more_than_one_alone_would(among: int) -> None:
    """But for the first guess of each of them, as far as those are more than three."""
    alone, share = times_of(1), times_of(among)

    for time in sorted({*alone, *share}):
        together = among * sum(taken <= time for taken in share)
        assert together <= sum(taken <= time for taken in alone) + max(0, among - 3)


def test_a_share_that_is_given_back_is_a_whole_one() -> None:
    taken = debit(FRESH, guess=guess(1), now=NOW, among=4)
    assert isinstance(taken, Debited)

    assert give_back(taken.lane, guess=guess(1), among=4) == FRESH


def test_a_share_that_is_given_back_after_others_leaves_their_wait() -> None:
    lane, now = FRESH, NOW
    for number in range(3):
        now = lane.not_before or now
        decision = debit(lane, guess=guess(number), now=now, among=4)
        assert isinstance(decision, Debited)
        lane = decision.lane

    back = give_back(lane, guess=guess(0), among=4)

    until = now + timedelta(seconds=seconds_after(8, among=4))
    assert back == Lane(failures=8, not_before=until, ring=(guess(1), guess(2)))


def test_a_share_that_is_charged_is_a_whole_one() -> None:
    charged = charge(FRESH, guess=guess(1), now=NOW, among=4)

    assert charged.failures == 4
    assert charge(charged, guess=guess(1), now=NOW, among=4) == charged


def test_a_wait_of_a_share_is_never_longer_than_by_its_rule() -> None:
    future = Lane(failures=4, not_before=NOW + timedelta(days=365))

    lane = as_by_the_rule(future, now=NOW, among=2)
    assert debit(lane, guess=guess(1), now=NOW, among=2) == Wait(2 * 5)


@pytest.mark.parametrize("failures", [10_000, 65_535])
def test_no_count_is_too_high_for_the_rule(failures: int) -> None:
    assert seconds_after(failures) == 3600


def test_what_was_seen_before_it_was_lost_is_put_back() -> None:
    seen, _ = after(10)

    assert raised(FRESH, seen=seen) == seen


def test_what_is_there_is_not_lowered_by_what_was_seen() -> None:
    seen, _ = after(5)
    there, _ = after(10)

    assert raised(there, seen=seen) == there
    assert raised(seen, seen=seen) == seen


def test_what_is_there_is_not_changed_by_what_counts_as_much() -> None:
    lane, now = after(5)

    assert raised(lane, seen=replace(lane, not_before=now + timedelta(days=1))) == lane


def test_an_admitted_guess_is_told_all_that_was_bid() -> None:
    bid = Bid(account="alice", guess=guess(1), source=b"s", since=NOW, unlocked=NOW + timedelta(1))

    assert bid.ticket(lane=b"l", paid=True) == Ticket(
        account="alice",
        lane=b"l",
        guess=guess(1),
        source=b"s",
        paid=True,
        since=NOW,
        unlocked=NOW + timedelta(1),
    )


def test_guesses_since_the_loss_stay_remembered() -> None:
    seen = Lane(failures=20, not_before=NOW, ring=tuple(map(guess, range(8))))
    later = NOW + timedelta(seconds=5)
    there = Lane(failures=4, not_before=later, ring=(guess(7), guess(50)))

    put_back = raised(there, seen=seen)

    assert put_back.failures == 20
    assert put_back.not_before == later
    assert put_back.ring == (*map(guess, range(1, 7)), guess(7), guess(50))


def test_guesses_that_were_made_elsewhere_are_charged_when_they_were_made() -> None:
    lane, now = after(4)
    made = [(guess(50), now + timedelta(seconds=1)), (guess(51), now + timedelta(seconds=2))]

    caught = caught_up(lane, made=made)

    assert caught.failures == 6
    assert caught.not_before == now + timedelta(seconds=2 + 10)
    assert caught.ring[-2:] == (guess(50), guess(51))
    assert caught_up(caught, made=made) == caught


def test_a_lane_does_not_open_by_guesses_of_long_ago() -> None:
    lane, _ = after(10)

    caught = caught_up(lane, made=[(guess(50), NOW - timedelta(days=1))])

    assert caught.failures == 11
    assert caught.not_before == lane.not_before


def test_nothing_made_elsewhere_changes_nothing() -> None:
    assert caught_up(FRESH, made=()) == FRESH
    assert caught_up(FRESH, made=[(guess(1), NOW)]) == Lane(failures=1, ring=(guess(1),))
