"""How work is started in Synapse, and what it leaves behind."""

import importlib
import threading
from typing import Any, cast

import pytest
from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    SENTINEL_CONTEXT,
    LoggingContext,
    PreserveLoggingContext,
    current_context,
    make_deferred_yieldable,
)
from synapse.metrics.background_process_metrics import run_as_background_process
from synapse.util.clock import Clock
from twisted.internet import defer, task

from lalepass_provider import background
from lalepass_provider.background import Backoff, Chore, Loop, SynapseBackground
from tests.lalepass_provider.fakes_lifecycle import FakeBackground, HungDatabase
from tests.lalepass_provider.on_reactor import on_reactor, reactor


class Reactor(task.Clock):
    """A clock that keeps what is to be done at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.triggers: list[Any] = []

    def addSystemEventTrigger(self, phase: str, event: str, trigger: Any) -> None:  # noqa: N802
        assert (phase, event) == ("before", "shutdown")
        self.triggers.append(trigger)


class Homeserver:
    """Starts work in a logging context of its own, as Synapse does."""

    def run_as_background_process(self, name: str, work: Any) -> Any:
        return run_as_background_process(cast("Any", name), "hs.example", work)


def ending(monkeypatch: pytest.MonkeyPatch, work: Any) -> tuple[Reactor, list[Any]]:
    """Tell a process to end; return its clock, and the context in which the end went on."""
    clock = Reactor()
    monkeypatch.setattr(background, "reactor", clock)
    SynapseBackground(cast("Any", Homeserver())).at_end("end", work, seconds=2.0)
    over: list[Any] = []
    (trigger,) = clock.triggers
    trigger().addCallback(lambda _: over.append(current_context()))
    return clock, over


def test_the_end_waits_for_what_is_to_be_done_and_goes_on_in_no_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: defer.Deferred[None] = defer.Deferred()

    async def work() -> None:
        await written

    _, over = ending(monkeypatch, work)
    assert over == []

    written.callback(None)
    assert over == [SENTINEL_CONTEXT]


def test_the_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    never: defer.Deferred[None] = defer.Deferred()

    async def work() -> None:
        await never

    clock, over = ending(monkeypatch, work)
    clock.advance(1.9)
    assert over == []

    clock.advance(0.2)
    assert over == [SENTINEL_CONTEXT]
    never.callback(None)
    assert over == [SENTINEL_CONTEXT]


@on_reactor
async def test_whoever_waits_waits_no_longer_than_they_say() -> None:
    it = SynapseBackground(cast("Any", Homeserver()))
    database = HungDatabase()

    async def answer() -> int:
        return 42

    assert await it.within("answer", answer, seconds=60) == 42
    with pytest.raises(defer.TimeoutError):
        await it.within("hang", database.transaction, seconds=0.01)
    database.let_go()


@on_reactor
async def test_what_blocks_is_done_in_a_thread() -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    it = SynapseBackground(cast("Any", Homeserver()))
    assert reactor.running

    assert await it.in_thread(lambda: 6 * 7) == 42
    with pytest.raises(OSError, match="the disk is full"):
        await it.in_thread(fail)


@on_reactor
async def test_a_thread_is_not_ended_by_a_cancellation() -> None:
    """So who counts them counts right."""
    it = SynapseBackground(cast("Any", Homeserver()))
    disk = threading.Event()
    ended: list[object] = []

    async def write() -> None:
        try:
            await it.in_thread(lambda: disk.wait(60))
        finally:
            ended.append(1)

    with pytest.raises(defer.TimeoutError):
        await it.within("write", write, seconds=0.01)
    assert ended == []
    disk.set()
    while not ended:  # the test has a fence of its own
        await task.deferLater(reactor, 0.01, lambda: None)


class Looping:
    """A loop on Synapse's own background processes; a round does what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Reactor()
        self.rounds: list[Any] = []
        """The logging context of each."""
        self.do: Any = lambda: None
        self.refuses = False
        monkeypatch.setattr(background, "reactor", self.clock)
        SynapseBackground(cast("Any", self)).repeat("follow", self._round)

    async def _round(self) -> None:
        self.rounds.append(str(current_context()))
        waiting = self.do()
        if waiting is not None:
            await make_deferred_yieldable(waiting)

    def run_as_background_process(self, name: Any, work: Any) -> Any:
        if self.refuses:
            raise RuntimeError("HomeServer has been shutdown")
        return run_as_background_process(name, "hs.example", work)

    def turn(self, times: int = 1, *, seconds: float = Loop.BETWEEN) -> int:
        """Return how many rounds there were meanwhile."""
        before = len(self.rounds)
        for _ in range(times):
            self.clock.advance(seconds)
        return len(self.rounds) - before


@pytest.fixture
def looping(monkeypatch: pytest.MonkeyPatch) -> Looping:
    return Looping(monkeypatch)


def leaked() -> PreserveLoggingContext:
    """The reactor, while another module has forgotten a logging context of its own there."""
    return PreserveLoggingContext(LoggingContext(name="another", server_name="hs.example"))


def _milliseconds(number: int) -> Any:
    """Return what this release of Synapse takes for a time: 1.140 takes the number."""
    try:
        duration = importlib.import_module("synapse.util.duration")
    except ImportError:
        return number
    return duration.Duration(milliseconds=number)


def test_a_context_that_is_left_behind_ends_synapses_own_looping_call() -> None:
    """Why there is a loop of ours. Should this fail, Synapse's may do as well."""
    clock = Reactor()
    rounds: list[int] = []
    looping_call = Clock(cast("Any", clock), "hs.example").looping_call
    looping_call(lambda: rounds.append(1), _milliseconds(10))
    clock.advance(0.01)
    assert rounds == [1]

    with leaked():
        clock.advance(0.01)
    clock.pump([0.01] * 100)
    assert rounds == [1]


def test_a_context_that_is_left_behind_does_not_end_the_loop(looping: Looping) -> None:
    assert looping.turn() == 1
    with leaked():
        assert looping.turn() == 1
    assert looping.turn(5) == 5
    assert {context.rpartition("-")[0] for context in looping.rounds} == {"lalepass_follow"}


def test_rounds_follow_one_another_and_none_begins_before_the_last_has_ended(
    looping: Looping,
) -> None:
    held: defer.Deferred[None] = defer.Deferred()
    looping.do = lambda: held
    assert looping.turn(100) == 1

    looping.do = lambda: None
    held.callback(None)
    assert looping.turn(3) == 3


@pytest.mark.parametrize(
    "fault", [RuntimeError("a fault"), defer.CancelledError(), GeneratorExit()], ids=repr
)
def test_what_a_round_raises_does_not_end_the_loop(
    looping: Looping, fault: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise fault

    looping.do = fail
    assert looping.turn() == 1
    assert "A round of lalepass_follow did not end well" in caplog.text
    assert type(fault).__name__ in caplog.text  # Synapse writes it, or we
    assert looping.turn(50) == 0, "it comes again at once"

    looping.do = lambda: None
    assert looping.turn(100) > 1


def test_a_homeserver_that_starts_nothing_does_not_end_the_loop(
    looping: Looping, caplog: pytest.LogCaptureFixture
) -> None:
    looping.refuses = True
    looping.turn(100, seconds=60)
    assert looping.rounds == []
    assert 2 < caplog.text.count("did not end well") < 120

    looping.refuses = False
    assert looping.turn(100) or looping.turn(seconds=60)


def test_a_round_that_waits_for_the_database_within_a_time_is_cancelled_in_time(
    looping: Looping, caplog: pytest.LogCaptureFixture
) -> None:
    """Another one is not begun beside it, so it has to end."""
    database = HungDatabase()
    it = SynapseBackground(cast("Any", looping))
    ever = 10 * Loop.LONGEST

    def wait() -> "defer.Deferred[None]":
        return defer.ensureDeferred(it.within("hang", database.transaction, seconds=ever))

    looping.do = wait
    looping.turn()
    looping.do = lambda: None
    looping.turn(seconds=Loop.LONGEST + 0.1)

    assert "has not ended in 600 s" in caplog.text
    assert looping.turn(200) > 1
    database.let_go()


def test_a_round_that_does_not_end_is_cancelled(
    looping: Looping, caplog: pytest.LogCaptureFixture
) -> None:
    lost: defer.Deferred[None] = defer.Deferred()
    looping.do = lambda: lost
    looping.turn()
    looping.do = lambda: None
    assert looping.turn(seconds=Loop.LONGEST - 1) == 0
    assert caplog.text == ""

    looping.turn(seconds=1.1)
    assert "has not ended in 600 s" in caplog.text
    assert looping.turn(200) > 1


def test_a_round_that_is_not_ended_by_that_is_told_again_and_goes_on_when_it_ends(
    looping: Looping, caplog: pytest.LogCaptureFixture
) -> None:
    stuck: defer.Deferred[None] = defer.Deferred(lambda _: None)
    end: defer.Deferred[None] = defer.Deferred()

    async def stubborn() -> None:
        for waiting in (stuck, end):
            try:
                await make_deferred_yieldable(waiting)
            except defer.CancelledError:
                continue

    looping.do = lambda: defer.ensureDeferred(stubborn())
    looping.turn()
    looping.do = lambda: None
    looping.turn(2, seconds=Loop.LONGEST + 1)
    assert caplog.text.count("has not ended in 600 s") == 2

    assert looping.turn(200) > 1
    assert len(looping.clock.getDelayedCalls()) <= 2


def test_a_chore_is_done_once_at_a_time_and_again_when_there_is_more() -> None:
    fake = FakeBackground()
    begun = []

    async def work() -> None:
        begun.append(fake.clock.seconds())
        await fake.pause(5)

    chore = Chore(fake, "chore", work)
    chore.wake()
    chore.wake()
    assert begun == [0]

    fake.turn(5)
    chore.wake()
    assert begun == [0, 5]


def test_a_chore_that_failed_can_be_done_again() -> None:
    fake = FakeBackground()
    begun = []

    async def work() -> None:
        begun.append(1)
        raise RuntimeError("once more")

    chore = Chore(fake, "chore", work)
    chore.wake()
    chore.wake()

    assert len(begun) == len(fake.failures) == 2


def test_waiting_grows_to_a_limit_and_begins_anew() -> None:
    backoff = Backoff(first=1, longest=8)
    waits = [backoff.failed() for _ in range(6)]
    for wait, longest in zip(waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert 0.6 * longest <= wait <= longest

    backoff.reset()
    assert backoff.failed() <= 1
    assert 0.6 * 5 <= Backoff(first=1, longest=8).failed(at_least=5) <= 5
    assert Backoff(first=1, longest=8).failed(at_least=3600) <= 8
