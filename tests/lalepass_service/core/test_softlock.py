"""The rule for guesses at one account, against a model and in any order."""

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
    Debited,
    Lane,
    Repeated,
    Wait,
    charge,
    debit,
    give_back,
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


def test_a_clock_that_was_wrong_holds_nobody_up_for_longer_than_the_rule() -> None:
    lane, _ = after(6)

    assert debit(lane, guess=guess(1000), now=NOW - timedelta(days=365)) == Wait(10)


def test_a_guess_that_rode_on_anothers_debit_is_charged_if_that_was_given_back() -> None:
    lane, now = after(2)
    given_back = give_back(lane, guess=guess(1))

    assert charge(lane, guess=guess(1), now=now) == lane
    charged = charge(given_back, guess=guess(1), now=now)
    assert charged.failures == 2
    assert guess(1) in charged.ring


def test_a_debit_that_is_given_back_after_others_leaves_theirs() -> None:
    lane, _ = after(5)
    oldest, *others = lane.ring

    assert give_back(lane, guess=oldest) == Lane(
        failures=4, not_before=lane.not_before, ring=tuple(others)
    )


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
