"""How long a standby is left alone after it was of no use."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest

from lalepass_service.adapters.sql.fence import Fences, NotUsed, Why
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.standby import Lane
from lalepass_service.core.errors import StoreUnavailable

pytestmark = pytest.mark.anyio

SERVER = PostgresServer(url="postgresql://lalepass@127.0.0.1:1/lalepass")
LAGS = NotUsed(Why.LAGGING)


class Rests:
    """Counts them, and lets the loop go on; after the last one it says that this is enough."""

    def __init__(self, count: int) -> None:
        self.taken: list[float] = []
        self.said: list[Why | None] = []
        self._count = count

    def tell(self, why: Why | None) -> None:
        self.said.append(why)

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if len(self.taken) == self._count:
            raise asyncio.CancelledError
        await asyncio.sleep(0)


@pytest.fixture
async def lane() -> Lane:
    lane = Lane(Fences(SERVER), SERVER)
    await lane.thread.close()
    return lane


def answers(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, outcomes: Iterator[Exception | None]
) -> None:
    """Have it answer with these, one after the other."""

    async def ask(work: Callable[[object], object], *, writes: bool) -> None:
        del work, writes
        if (outcome := next(outcomes)) is not None:
            raise outcome

    monkeypatch.setattr(lane.thread, "ask", ask)


async def test_the_rests_grow_to_a_bound(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(lane, monkeypatch, repeat(LAGS))
    rests = Rests(30)
    with pytest.raises(asyncio.CancelledError):
        await lane.keep(rests.tell, sleep=rests)

    assert rests.taken[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert rests.taken[8:] == [5.0] * 22
    # What passes soon is not worth a word.
    assert rests.said == [Why.LAGGING] * 28


async def test_one_that_is_of_use_for_moments_only_is_left_alone_longer_each_time(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(lane, monkeypatch, chain.from_iterable(repeat((None, LAGS))))
    rests = Rests(5)
    keeping = asyncio.create_task(lane.keep(rests.tell, sleep=rests))
    async with asyncio.timeout(20):
        while not keeping.done():
            if lane.why is None:
                with pytest.raises(NotUsed):
                    await lane.read(lambda _: None)
            await asyncio.sleep(0)

    assert rests.taken == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert rests.said == [None] * 5


async def test_one_that_was_of_use_for_long_is_soon_tried_again(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(lane, monkeypatch, iter([LAGS, None, LAGS, None, LAGS]))
    monkeypatch.setattr("lalepass_service.adapters.sql.standby._GOOD", 0)
    rests = Rests(3)
    keeping = asyncio.create_task(lane.keep(rests.tell, sleep=rests))
    async with asyncio.timeout(20):
        while not keeping.done():
            if lane.why is None:
                with pytest.raises(NotUsed):
                    await lane.read(lambda _: None)
            await asyncio.sleep(0)

    assert rests.taken == [0.1, 0.2, 0.1]


async def test_what_can_not_be_mended_by_waiting_is_said_at_once(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(lane, monkeypatch, repeat(NotUsed(Why.NOT_PERMITTED)))
    rests = Rests(1)
    with pytest.raises(asyncio.CancelledError):
        await lane.keep(rests.tell, sleep=rests)
    assert rests.said == [Why.NOT_PERMITTED]


async def test_one_that_does_not_answer_in_time_is_away(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(lane, monkeypatch, iter([StoreUnavailable()]))
    with pytest.raises(NotUsed) as raised:
        await lane.read(lambda _: None)
    assert (raised.value.why, lane.why) == (Why.AWAY, Why.AWAY)


async def test_a_read_that_failed_by_itself_is_no_reason_to_rest(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.why = None
    answers(lane, monkeypatch, iter([NotUsed(Why.FAILED)]))
    with pytest.raises(NotUsed):
        await lane.read(lambda _: None)
    assert lane.why is None
