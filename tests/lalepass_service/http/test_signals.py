"""Who is told of SIGTERM and Ctrl-C: from the start to the end, somebody is."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
import uvloop

from lalepass_service.http.server import Ending
from lalepass_service.http.signals import Signals
from tests.lalepass_service.waiting import until

_BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
_FENCE = 60.0


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def tell(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@_BOTH
def test_nobody_in_charge_ends_the_process(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as ended, Signals():
        tell(number)

    assert ended.value.code == 0


@_BOTH
def test_a_start_is_given_up_and_what_it_has_opened_is_closed(number: signal.Signals) -> None:
    done: list[str] = []

    async def start(signals: Signals, ending: Ending) -> None:
        async with ending.of_a_start(signals):
            try:
                tell(number)
                await asyncio.sleep(_FENCE)
                done.append("begun")
            finally:
                # Told once more, it goes on closing.
                tell(number)
                await asyncio.sleep(0.05)
                done.append("closed")

    ending = Ending()
    with Signals() as signals, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(start(signals, ending))

    assert done == ["closed"]
    assert ending.begun


def test_a_start_that_fails_by_itself_says_so() -> None:
    async def start(signals: Signals) -> None:
        async with Ending().of_a_start(signals):
            raise asyncio.CancelledError

    with (
        pytest.raises(asyncio.CancelledError),
        Signals() as signals,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(start(signals))


@_BOTH
def test_whoever_answers_is_told_and_afterwards_nobody(number: signal.Signals) -> None:
    told: list[int] = []

    async def answer(signals: Signals, ending: Ending) -> None:
        async with ending.of_a_start(signals):
            with signals.told_to(told.append):
                tell(number)
                await until(lambda: bool(told))
            tell(number)
            await asyncio.sleep(0.05)

    ending = Ending()
    with Signals() as signals, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(answer(signals, ending))
    tell(number)

    assert told == [number]
    assert not ending.begun
