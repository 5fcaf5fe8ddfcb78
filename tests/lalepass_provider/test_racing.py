"""Whoever waits is let go in time, whatever becomes of the work."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    SENTINEL_CONTEXT,
    LoggingContext,
    current_context,
    make_deferred_yieldable,
)
from synapse.metrics.background_process_metrics import run_as_background_process
from synapse.util.async_helpers import delay_cancellation
from twisted.internet import defer, task
from twisted.python.failure import Failure

from lalepass_provider.racing import race


class Race:
    """Somebody who waits in a context of his own, and work in another."""

    def __init__(self, work: Callable[[], Awaitable[Any]], *, seconds: float = 5) -> None:
        self.clock = task.Clock()
        self.result: list[Any] = []
        self.contexts: list[str] = []
        self.waiting = defer.ensureDeferred(self._wait(work, seconds))
        self.waiting.addBoth(self.result.append)
        assert current_context() is SENTINEL_CONTEXT

    async def _wait(self, work: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        with LoggingContext(name="waiter", server_name="hs.example"):
            try:
                return await make_deferred_yieldable(
                    race(work, seconds, run=self._run, clock=self.clock)
                )
            finally:
                self.contexts.append(str(current_context()))

    def _run(self, do: Callable[[], Awaitable[None]]) -> "defer.Deferred[Any]":
        return run_as_background_process("race", "hs.example", do)

    @property
    def fault(self) -> type[BaseException]:
        (failure,) = self.result
        assert isinstance(failure, Failure)
        assert failure.value is not None
        return type(failure.value)


class Hanging:
    """Work that waits until it is let go, and notes how it ended."""

    def __init__(self, *, in_database: bool) -> None:
        self.thread: defer.Deferred[int] = defer.Deferred()
        self.ended: list[object] = []
        self._in_database = in_database

    async def __call__(self) -> int:
        waiting = make_deferred_yieldable(self.thread)
        try:
            number = await (delay_cancellation(waiting) if self._in_database else waiting)
        except BaseException as exc:
            self.ended.append(type(exc))
            raise
        self.ended.append(number)
        return number


async def fail() -> None:
    raise OSError("the disk is full")


async def answer() -> int:
    return 42


def test_what_is_done_at_once_is_the_result() -> None:
    it = Race(answer)

    assert it.result == [42]
    assert it.clock.getDelayedCalls() == []


def test_what_is_done_in_time_is_the_result() -> None:
    work = Hanging(in_database=True)
    it = Race(work)
    it.clock.advance(4.9)
    assert it.result == []

    work.thread.callback(7)

    assert it.result == [7]
    assert it.contexts == ["waiter"]
    assert it.clock.getDelayedCalls() == []


def test_what_the_work_raises_is_raised() -> None:
    assert Race(fail).fault is OSError


@pytest.mark.parametrize("in_database", [False, True])
def test_in_time_whoever_waits_is_let_go(in_database: bool) -> None:  # noqa: FBT001 - a parameter of the test
    work = Hanging(in_database=in_database)
    it = Race(work)

    it.clock.advance(5)

    assert it.fault is defer.TimeoutError
    assert it.contexts == ["waiter"]
    # What waits in the database goes on: a cancellation is not heard before that has answered.
    assert work.ended == ([] if in_database else [defer.CancelledError])
    work.thread.callback(0)


def test_what_ends_after_that_disturbs_nobody() -> None:
    work = Hanging(in_database=True)
    it = Race(work)
    it.clock.advance(5)

    work.thread.callback(7)

    assert work.ended == [defer.CancelledError]
    assert it.fault is defer.TimeoutError
    assert current_context() is SENTINEL_CONTEXT


@pytest.mark.parametrize("in_database", [False, True])
def test_who_is_cancelled_himself_waits_no_longer(in_database: bool) -> None:  # noqa: FBT001 - a parameter of the test
    work = Hanging(in_database=in_database)
    it = Race(work)

    it.waiting.cancel()

    assert it.fault is defer.CancelledError
    assert work.ended == ([] if in_database else [defer.CancelledError])
    assert it.clock.getDelayedCalls() == []
    work.thread.callback(0)


def test_what_can_not_be_begun_leaves_nothing_behind() -> None:
    clock = task.Clock()

    def refuse(_: object) -> Any:
        raise RuntimeError("HomeServer has been shutdown")

    with pytest.raises(RuntimeError):
        race(answer, 5, run=refuse, clock=clock)
    assert clock.getDelayedCalls() == []
