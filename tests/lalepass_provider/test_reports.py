"""Reports of logins and logouts: in batches, within a bound, and nobody waits for them."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from lalepass_provider.errors import ContractBroken, ScopeMissing, Unreachable
from lalepass_provider.metrics import Metrics
from lalepass_provider.reports import ReportQueue
from lalepass_wire import Source, limits
from lalepass_wire.feed import ReportKind
from tests.lalepass_provider.fakes_lifecycle import FakeBackground, FakeService

IN = ReportKind.SIGNED_IN


class Reporting:
    def __init__(self) -> None:
        self.service = FakeService()
        self.background = FakeBackground()
        self.registry = CollectorRegistry()
        self.queue = ReportQueue(
            service=self.service,
            background=self.background,
            metrics=Metrics(self.registry),
            wall=lambda: 1_700_000_000.0,
        )

    def add(self, *names: str) -> None:
        for name in names:
            self.queue.add(IN, name, device_id="D")

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.background.turn(0.5)
        assert self.background.failures == []

    @property
    def names(self) -> list[str]:
        return [report.localpart for report in self.service.reports]


def test_what_happens_within_a_moment_is_told_together() -> None:
    it = Reporting()
    it.queue.add(IN, "bob", device_id="D1", source=Source(ip="192.0.2.7", user_agent="Element"))
    it.queue.add(ReportKind.SIGNED_OUT, "bob", device_id=None)
    assert it.service.reports == []

    it.run(3)

    assert len(it.service.batches) == 1
    first, second = it.service.reports
    assert (first.kind, first.localpart, first.device_id) == (IN, "bob", "D1")
    assert first.source == Source(ip="192.0.2.7", user_agent="Element")
    assert first.at.timestamp() == 1_700_000_000.0
    assert (second.kind, second.device_id) == (ReportKind.SIGNED_OUT, None)
    assert first.id != second.id


def test_it_rests_when_all_is_told_and_begins_again() -> None:
    it = Reporting()
    it.add("a")
    it.run(10)
    assert it.background.clock.getDelayedCalls() == []

    it.add("b")
    it.run(3)

    assert it.names == ["a", "b"]


def test_a_batch_fits_into_a_request() -> None:
    it = Reporting()
    for number in range(100):
        source = Source(user_agent="\u20ac" * limits.MAX_USER_AGENT_LENGTH)
        it.queue.add(IN, f"n{number}", device_id="D" * 255, source=source)
    it.add(*(f"m{number}" for number in range(100)))

    it.run(120)

    assert len(it.names) == 200
    assert max(len(batch) for batch in it.service.batches) <= limits.MAX_REQUEST_BYTES
    sizes = [detail for what, detail in it.service.asked if what == "report"]
    assert max(sizes) > limits.MAX_REQUEST_BYTES / 2


def test_while_the_service_is_away_they_wait_and_nothing_is_told_twice() -> None:
    it = Reporting()
    it.service.trouble = Unreachable("refused")
    it.add("a")
    it.run(100)
    it.add("b")
    it.run(100)
    tries = len(it.service.asked)
    assert 5 <= tries <= 30

    it.service.trouble = None
    it.run(40)

    assert it.names == ["a", "b"]
    assert it.queue.dropped == 0
    assert len({report.id for report in it.service.reports}) == 2


def test_a_report_that_is_sent_again_has_the_same_id() -> None:
    it = Reporting()
    sent: list[bytes] = []

    async def lossy(reports: bytes) -> None:
        sent.append(reports)
        raise Unreachable("the answer is lost")

    it.service.report = lossy  # type: ignore[method-assign]
    it.add("a")
    it.run(10)

    assert len(sent) > 1
    assert len(set(sent)) == 1


def test_the_oldest_make_room_for_newer_ones(caplog: pytest.LogCaptureFixture) -> None:
    it = Reporting()
    it.service.trouble = Unreachable("refused")
    it.add(*(f"n{number}" for number in range(3000)))
    assert len(it.queue) == 2000
    assert it.queue.dropped == 1000
    assert caplog.text.count("dropped") == 1
    dropped = it.registry.get_sample_value("lalepass_provider_reports_dropped_total")
    assert dropped == 1000

    it.service.trouble = None
    it.run(200)

    assert it.names == [f"n{number}" for number in range(1000, 3000)]


def test_what_the_service_does_not_understand_does_not_block_the_rest() -> None:
    it = Reporting()
    it.service.trouble = ContractBroken("the service answered 400")
    it.add("a")
    it.run(30)
    assert it.queue.dropped == 1

    it.service.trouble = None
    it.add("b")
    it.run(40)

    assert it.names == ["b"]


def test_a_token_without_the_scope_loses_nothing_within_the_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = Reporting()
    it.service.trouble = ScopeMissing("403")
    it.add("a")
    with caplog.at_level(logging.WARNING):
        it.run(300)

    assert len(it.queue) == 1
    assert caplog.text.count("can't be reported") == 1


@pytest.mark.parametrize("device_id", ["", "x" * 256, "a\ud800b", "a\0b"])
def test_a_device_id_that_nobody_could_store_is_left_out(device_id: str) -> None:
    it = Reporting()
    it.queue.add(IN, "bob", device_id=device_id)
    it.run(3)

    (report,) = it.service.reports
    assert report.device_id is None


def test_a_name_that_is_none_is_not_told() -> None:
    it = Reporting()
    it.add("Bob", "", "b@x")
    it.run(3)

    assert it.service.batches == []


def test_at_the_end_what_waits_is_sent_without_delay() -> None:
    it = Reporting()
    it.add(*(f"n{number}" for number in range(50)))

    it.background.do(it.queue.flush())

    assert len(it.names) == 50
    assert len(it.queue) == 0
