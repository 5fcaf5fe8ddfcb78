"""How work is started in Synapse, and what it leaves behind."""

from typing import Any, cast

import pytest
from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    SENTINEL_CONTEXT,
    LoggingContext,
    current_context,
)
from twisted.internet import defer, task

from lalepass_provider import background
from lalepass_provider.background import Backoff, Chore, SynapseBackground
from tests.lalepass_provider.fakes_lifecycle import FakeBackground
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

    def run_as_background_process(self, name: str, work: Any) -> None:
        async def run() -> None:
            with LoggingContext(name=name, server_name="hs.example"):
                await work()

        defer.ensureDeferred(run())


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
async def test_what_blocks_is_done_in_a_thread() -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    it = SynapseBackground(cast("Any", Homeserver()))
    assert reactor.running

    assert await it.in_thread(lambda: 6 * 7) == 42
    with pytest.raises(OSError, match="the disk is full"):
        await it.in_thread(fail)


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
