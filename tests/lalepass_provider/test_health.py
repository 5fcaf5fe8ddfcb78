"""When an endpoint that failed is left alone, probed and asked again."""

import pytest
from twisted.internet import defer

from lalepass_provider.errors import Broken, Lost, NotConnected, TooSlow
from lalepass_wire import paths
from tests.lalepass_provider.scripted import answer
from tests.lalepass_provider.site import NEVER, OK, OTHER, PATIENCE, Site


def test_probes_come_after_a_growing_while() -> None:
    site = Site(NotConnected("refused"), OK)
    site.probes_get[0] = NotConnected("refused")
    site.ask()
    came: list[float] = []
    for _ in range(2000):
        before = site.probes()[0]
        site.clock.advance(0.1)
        if site.probes()[0] > before:
            came.append(site.clock.seconds())

    pauses = [later - earlier for earlier, later in zip([0.0, *came], came, strict=False)]
    assert pauses[:7] == pytest.approx([0.5, 1, 2, 4, 8, 16, 30], abs=0.21)
    assert pauses[7:] == pytest.approx([30] * len(pauses[7:]), abs=0.21)
    assert site.probes()[1] == 0
    assert site.calls()[0] == 1


@pytest.mark.parametrize(
    ("fault", "dropped"),
    [
        (Lost("cut off"), 1),
        (TooSlow("no answer", begun=False), 1),
        (Broken("half an answer"), 0),
        (NotConnected("refused"), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kept_connections_are_not_trusted_when_one_went_dead(
    fault: Exception, dropped: int
) -> None:
    site = Site(fault, OK)
    site.ask()

    assert [one.dropped for one in site.transports] == [dropped, 0]


def test_a_probe_carries_no_token() -> None:
    site = Site(NotConnected("refused"), OK)
    site.ask()
    site.clock.advance(1)

    probe = site.transports[0].requests[-1]
    assert (probe.method, probe.target) == ("GET", paths.HEALTH_READY)
    assert "authorization" not in {name.lower() for name in probe.headers}


@pytest.mark.parametrize(
    ("said", "well"),
    [
        (answer(200, {"status": "ready"}), True),
        (answer(404, b"not here", kind="text/plain"), True),
        (answer(200, b"<html>", kind="text/html"), False),
        (answer(302, b""), False),
        (answer(503, {}), False),
        (Lost("cut off"), False),
        (NEVER, False),
    ],
    ids=["ready", "hidden by a proxy", "html", "redirect", "503", "lost", "silent"],
)
def test_who_is_well_is_asked_again(said: object, well: bool) -> None:  # noqa: FBT001 - a parameter of the test
    site = Site(NotConnected("refused"), OK)
    site.probes_get[0] = said
    site.ask()
    site.says[0] = OTHER
    site.clock.pump([0.5, 1.2])  # the probe, and its end

    assert (OTHER.status in [site.ask() for _ in range(2)]) is well


@pytest.mark.parametrize(
    "fault", [RuntimeError("never seen before"), defer.CancelledError()], ids=["fault", "cancelled"]
)
def test_a_fault_in_a_probe_does_not_end_the_probing(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(NotConnected("refused"), OK)
    site.probes_get[0] = fault
    site.ask()
    for _ in range(30):
        site.clock.advance(0.1)  # probes at 0.5 and 1.5
    assert site.probes()[0] == 2
    assert caplog.text.count("A fault in asking") == isinstance(fault, RuntimeError)

    site.says[0], site.probes_get[0] = OTHER, OK
    for _ in range(10):
        site.clock.advance(0.1)
    assert OTHER.status in [site.ask() for _ in range(2)]


def test_one_on_trial_gets_one_call_at_a_time() -> None:
    site = Site(NotConnected("refused"), OK)
    site.ask()
    site.says = [NEVER, NEVER]
    busy = [site.begin() for _ in range(3)]  # so that the other one has the most to do
    site.says[1] = OK
    site.clock.advance(0.5)
    before = site.calls()[0]

    trial = [site.begin() for _ in range(2)]
    assert [site.ask() for _ in range(5)] == [200] * 5
    assert site.calls()[0] == before + 1
    for call in [*busy, *trial]:
        call.addErrback(lambda _: None)
        call.cancel()


def test_failing_on_trial_makes_the_pause_longer() -> None:
    site = Site(NotConnected("refused"), OK)
    site.ask()
    site.clock.advance(0.5)  # the probe is good
    for _ in range(2):
        site.ask()  # and what it promised is not kept
    assert site.probes()[0] == 1

    site.clock.advance(0.9)
    assert site.probes()[0] == 1
    site.clock.advance(0.1)
    assert site.probes()[0] == 2


def test_many_failures_at_the_same_moment_are_one() -> None:
    site = Site(NEVER, OK)
    held = [site.begin() for _ in range(30)]
    site.clock.advance(PATIENCE)

    assert {call.result for call in held} == {200}
    site.clock.advance(0.5)
    assert site.probes()[0] == 1


def test_calls_that_were_under_way_when_one_failed_put_no_probe_off() -> None:
    site = Site(OK, OK)
    for _ in range(6):
        for _ in range(30):
            site.health.note(site.health.endpoints[0], Lost("cut off"), begun=0.0)
        site.clock.advance(0.1)

    assert site.probes()[0] == 1


def test_if_none_is_left_probes_come_within_a_second() -> None:
    site = Site(NotConnected("refused"), OK)
    site.probes_get[0] = NotConnected("refused")
    site.ask()
    for _ in range(600):
        site.clock.advance(0.1)  # the pause has grown to 30 s
    site.says[1] = NotConnected("refused")
    site.probes_get[1] = NotConnected("refused")
    site.ask()
    before = site.probes()

    for _ in range(10):
        site.clock.advance(0.1)
    assert all(after > count for after, count in zip(site.probes(), before, strict=True))


def test_who_is_gone_leaves_nothing_on_the_clock() -> None:
    site = Site(NotConnected("refused"), NotConnected("refused"))
    site.probes_get = [NEVER, NEVER]
    site.ask()
    site.clock.advance(0.5)  # two probes are under way
    assert site.probes() == [1, 1]

    defer.ensureDeferred(site.endpoints.aclose())

    assert site.clock.getDelayedCalls() == []


def test_the_log_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    site = Site(NotConnected("refused"), OK)
    site.probes_get[0] = NotConnected("refused")
    for _ in range(10):
        site.ask()
        site.clock.advance(5)
    site.says[0], site.probes_get[0] = OK, OK
    site.clock.advance(60)
    for _ in range(10):
        site.ask()

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "The Lalepass service does not answer, and is left alone: 0:1: refused"),
        ("INFO", "The Lalepass service at 0:1 answers again"),
    ]
