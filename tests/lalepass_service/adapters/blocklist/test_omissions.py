import structlog

from lalepass_service.adapters.blocklist.omissions import Omissions
from lalepass_service.core.errors import BreachRangeUnavailable


def test_every_omission_is_counted_and_one_a_minute_is_logged() -> None:
    times = iter([0.0, 1.0, 59.9, 60.0, 61.0])
    omissions = Omissions(monotonic=lambda: next(times))

    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            omissions(BreachRangeUnavailable("it took too long"))

    assert omissions.total == 5
    assert [line["so_far"] for line in logged] == [1, 4]
    assert all("it took too long" in line["why"] for line in logged)
