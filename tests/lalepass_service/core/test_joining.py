import asyncio

import pytest

from lalepass_service.core.errors import NoAnswer
from lalepass_service.core.joining import Joined

pytestmark = pytest.mark.anyio


class Work:
    """Something that is done once for all who ask for it together."""

    def __init__(self) -> None:
        self.joined = Joined[int]()
        self.runs = 0
        self.go = asyncio.Event()
        self.failure: Exception | None = None

    def ask(self, key: bytes = b"key", facts: object = None) -> asyncio.Task[int]:
        return asyncio.create_task(self._ask(key, facts))

    async def _ask(self, key: bytes, facts: object) -> int:
        mine: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        theirs = self.joined.claim(key, facts, mine)
        if theirs is not None:
            return await asyncio.shield(theirs)
        ended: int | BaseException = -1
        try:
            ended = await self._run()
        except BaseException as exc:
            ended = exc
            raise
        finally:
            self.joined.end(mine, ended)
        return ended

    async def _run(self) -> int:
        self.runs += 1
        run = self.runs
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return run


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_ask_at_once_get_one_result() -> None:
    work = Work()
    waiting = [work.ask() for _ in range(50)]
    await _turns()
    work.go.set()

    assert await asyncio.gather(*waiting) == [1] * 50
    assert work.runs == 1


async def test_who_asks_later_or_for_something_else_gets_a_result_of_its_own() -> None:
    work = Work()
    work.go.set()

    assert await work.ask() == 1
    assert await work.ask() == 2
    assert await work.ask(b"other") == 3
    assert len(work.joined) == 0


async def test_who_knows_other_facts_does_not_join_in() -> None:
    work = Work()
    before = work.ask(facts="before")
    await _turns()
    after = [work.ask(facts="after") for _ in range(2)]
    await _turns()
    work.go.set()

    assert await before == 1
    assert await asyncio.gather(*after) == [2, 2]
    assert len(work.joined) == 0


async def test_the_work_goes_on_when_one_who_waits_leaves() -> None:
    work = Work()
    first, second, third = (work.ask() for _ in range(3))
    await _turns()

    second.cancel()
    await _turns()
    work.go.set()

    assert list(await asyncio.gather(first, third)) == [1, 1]
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_when_the_one_who_works_is_stopped_the_others_get_no_answer() -> None:
    work = Work()
    first, second = work.ask(), work.ask()
    await _turns()

    first.cancel()

    with pytest.raises(NoAnswer):
        await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(work.joined) == 0


async def test_all_get_the_same_failure_and_the_next_tries_anew() -> None:
    work = Work()
    work.failure = RuntimeError("no")
    waiting = [work.ask() for _ in range(3)]
    await _turns()
    work.go.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert outcomes == [work.failure] * 3
    work.failure = None
    assert await work.ask() == 2


async def test_a_failure_that_nobody_waits_for_is_nobodys_complaint() -> None:
    work = Work()
    work.failure = RuntimeError("no")
    alone = work.ask()
    work.go.set()
    with pytest.raises(RuntimeError):
        await alone

    assert work.runs == 1


async def test_a_claim_may_be_made_again() -> None:
    """A transaction that is run again makes it a second time."""
    joined, loop = Joined[int](), asyncio.get_running_loop()
    mine, other = loop.create_future(), loop.create_future()

    assert joined.claim(b"key", 1, mine) is None
    assert joined.claim(b"key", 1, mine) is None
    assert joined.claim(b"key", 1, other) is mine
    joined.end(mine, 17)
    assert joined.claim(b"key", 1, other) is None
    assert mine.result() == 17


async def test_who_has_gone_claims_nothing_any_more() -> None:
    """The claim is made on another thread, which may come to it when nobody waits any longer."""
    joined, loop = Joined[int](), asyncio.get_running_loop()
    gone, other = loop.create_future(), loop.create_future()
    joined.end(gone, NoAnswer())

    assert joined.claim(b"key", 1, gone) is gone
    assert len(joined) == 0
    assert joined.claim(b"key", 1, other) is None


async def test_a_claim_that_is_made_again_for_something_else_is_one_claim() -> None:
    joined, loop = Joined[int](), asyncio.get_running_loop()
    mine, other = loop.create_future(), loop.create_future()
    joined.claim(b"key", 1, mine)

    assert joined.claim(b"another", 2, mine) is None
    assert joined.claim(b"another", 2, other) is mine
    assert joined.claim(b"key", 1, other) is None
    joined.end(mine, 17)
    joined.end(other, 18)
    assert len(joined) == 0


async def test_who_joins_others_in_the_end_has_no_claim_that_they_could_wait_for() -> None:
    joined, loop = Joined[int](), asyncio.get_running_loop()
    mine, other = loop.create_future(), loop.create_future()
    joined.claim(b"key", 1, mine)
    joined.claim(b"another", 2, other)

    assert joined.claim(b"another", 2, mine) is other
    assert joined.claim(b"key", 1, other) is None


async def test_who_has_taken_a_place_over_keeps_it_when_the_one_before_ends() -> None:
    joined, loop = Joined[int](), asyncio.get_running_loop()
    before, after, other = (loop.create_future() for _ in range(3))
    joined.claim(b"key", "before", before)
    joined.claim(b"key", "after", after)
    joined.end(before, 17)

    assert joined.claim(b"key", "after", other) is after


async def test_who_has_lost_its_place_to_one_that_has_ended_can_end_as_well() -> None:
    joined, loop = Joined[int](), asyncio.get_running_loop()
    before, after = loop.create_future(), loop.create_future()
    joined.claim(b"key", "before", before)
    joined.claim(b"key", "after", after)
    joined.end(after, 18)
    joined.end(before, 17)

    assert (before.result(), after.result(), len(joined)) == (17, 18, 0)
