import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.core.errors import Throttled
from lalepass_service.core.throttle import Buckets, LocalThrottle, Rate


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_goes_through_and_the_next_has_to_wait() -> None:
    buckets = Buckets(Rate(burst=3, per_second=2))

    assert [buckets.hit("a", now=0) for _ in range(3)] == [0, 0, 0]
    assert buckets.hit("a", now=0) == 0.5
    assert buckets.hit("b", now=0) == 0
    assert buckets.hit("a", now=0.5) == 0
    assert buckets.hit("a", now=0.5) == 0.5


@given(st.lists(st.floats(0, 2), max_size=60), st.integers(1, 5), st.floats(0.5, 5))
def test_no_more_than_the_burst_and_the_rate_ever_pass(
    pauses: list[float], burst: int, per_second: float
) -> None:
    buckets = Buckets(Rate(burst=burst, per_second=per_second))
    now, passed = 0.0, 0
    for pause in pauses:
        now += pause
        passed += buckets.hit("a", now=now) == 0
        assert passed <= burst + now * per_second + 1e-6


@given(st.integers(1, 5), st.floats(0.5, 5))
def test_whoever_waits_as_told_is_let_through(burst: int, per_second: float) -> None:
    buckets = Buckets(Rate(burst=burst, per_second=per_second))
    now = 0.0
    for _ in range(20):
        wait = buckets.hit("a", now=now)
        if wait:
            now += wait + 1e-9
            assert buckets.hit("a", now=now) == 0


def test_memory_is_bounded_and_the_oldest_is_forgotten() -> None:
    buckets = Buckets(Rate(burst=1, per_second=0.001), max_keys=10)
    for number in range(1000):
        buckets.hit(str(number), now=0)

    assert len(buckets) == 10
    assert buckets.hit("999", now=0) > 0
    assert buckets.hit("0", now=0) == 0


def test_a_source_that_is_refused_does_not_spend_its_callers_budget() -> None:
    throttle = LocalThrottle(
        source=Rate(burst=1, per_second=1),
        caller=Rate(burst=3, per_second=1),
        seconds=Seconds(),
    )
    throttle.hit(source="192.0.2.1", caller="synapse")
    for _ in range(100):
        with pytest.raises(Throttled):
            throttle.hit(source="192.0.2.1", caller="synapse")

    throttle.hit(source="192.0.2.2", caller="synapse")


def test_a_source_and_a_caller_have_budgets_of_their_own() -> None:
    seconds = Seconds()
    throttle = LocalThrottle(
        source=Rate(burst=2, per_second=1), caller=Rate(burst=5, per_second=1), seconds=seconds
    )
    for _ in range(2):
        throttle.hit(source="192.0.2.1", caller="synapse")

    with pytest.raises(Throttled) as throttled:
        throttle.hit(source="192.0.2.1", caller="synapse")
    assert throttled.value.retry_after == pytest.approx(1)

    throttle.hit(source="192.0.2.2", caller="synapse")
    throttle.hit(source=None, caller="synapse")
    throttle.hit(source=None, caller="synapse")
    with pytest.raises(Throttled):
        throttle.hit(source="192.0.2.3", caller="synapse")
    throttle.hit(source="192.0.2.3", caller="another")

    seconds.now += 10
    throttle.hit(source="192.0.2.1", caller="synapse")


def test_where_no_source_is_known_none_is_counted() -> None:
    """Or all whose source nobody knows would share the budget of one."""
    throttle = LocalThrottle(
        source=Rate(burst=1, per_second=0.001),
        caller=Rate(burst=20, per_second=0.001),
        seconds=Seconds(),
    )

    for _ in range(20):
        throttle.hit(source=None, caller="synapse")

    assert len(throttle.sources) == 0
    with pytest.raises(Throttled) as throttled:
        throttle.hit(source=None, caller="synapse")
    assert throttled.value.retry_after == pytest.approx(1000)


def test_processes_that_divide_a_budget_take_no_more_than_it() -> None:
    shares = [Buckets(Rate(burst=10, per_second=1)) for _ in range(4)]

    taken = [sum(share.hit("a", now=0, among=4) == 0 for _ in range(10)) for share in shares]

    assert taken == [2, 2, 2, 2]
    # A fourth of one a second each.
    for share in shares:
        times = [second for second in range(1, 41) if share.hit("a", now=second, among=4) == 0]
        assert len(times) == 10


def test_a_share_of_less_than_one_is_one() -> None:
    share = Buckets(Rate(burst=2, per_second=1))

    assert share.hit("a", now=0, among=8) == 0
    assert share.hit("a", now=0, among=8) == 8


def test_what_others_took_lifts_a_count_and_never_lowers_it() -> None:
    buckets = Buckets(Rate(burst=3, per_second=1), max_keys=2)
    buckets.hit("a", now=0)

    buckets.lift("a", full_at=3)
    assert buckets.hit("a", now=0) == 1
    buckets.lift("a", full_at=1)
    assert buckets.hit("a", now=0) == 1
    buckets.lift("b", full_at=2)
    assert buckets.hit("b", now=0) == 0
    assert buckets.hit("b", now=0) == 1
    buckets.lift("c", full_at=0.5)
    assert [buckets.hit("c", now=0) for _ in range(3)] == [0, 0, 0.5]
    assert len(buckets) == 2


def test_a_throttle_asks_each_time_how_many_divide_its_budgets() -> None:
    among = 1
    rate = Rate(burst=4, per_second=0.001)
    throttle = LocalThrottle(
        source=rate, caller=Rate(burst=9, per_second=0.001), seconds=Seconds(), among=lambda: among
    )
    throttle.hit(source="here", caller="synapse")

    among = 3
    throttle.hit(source="here", caller="synapse")
    with pytest.raises(Throttled):
        throttle.hit(source="here", caller="synapse")
    throttle.hit(source=None, caller="synapse")
    with pytest.raises(Throttled):
        throttle.hit(source=None, caller="synapse")
