import asyncio

import pytest

from lalepass_service.core.joining import Joined

pytestmark = pytest.mark.anyio


class Work:
    def __init__(self) -> None:
        self.runs = 0
        self.go = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        run = self.runs
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return run


async def test_all_who_ask_at_once_get_one_result() -> None:
    joined, work = Joined[int](), Work()
    waiting = [asyncio.create_task(joined.run(b"key", work)) for _ in range(50)]
    await asyncio.sleep(0)
    work.go.set()

    assert await asyncio.gather(*waiting) == [1] * 50
    assert work.runs == 1


async def test_who_asks_later_or_for_something_else_gets_a_result_of_its_own() -> None:
    joined, work = Joined[int](), Work()
    work.go.set()

    assert await joined.run(b"key", work) == 1
    assert await joined.run(b"key", work) == 2
    assert await joined.run(b"other", work) == 3


async def test_the_work_goes_on_when_the_one_who_began_it_leaves() -> None:
    joined, work = Joined[int](), Work()
    first = asyncio.create_task(joined.run(b"key", work))
    second = asyncio.create_task(joined.run(b"key", work))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    work.go.set()

    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_all_get_the_same_failure_and_the_next_tries_anew() -> None:
    joined, work = Joined[int](), Work()
    work.failure = RuntimeError("no")
    waiting = [asyncio.create_task(joined.run(b"key", work)) for _ in range(3)]
    await asyncio.sleep(0)
    work.go.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert outcomes == [work.failure] * 3
    work.failure = None
    assert await joined.run(b"key", work) == 2


async def test_a_failure_that_nobody_waits_for_is_nobodys_complaint() -> None:
    joined, work = Joined[int](), Work()
    work.failure = RuntimeError("no")
    alone = asyncio.create_task(joined.run(b"key", work))
    await asyncio.sleep(0)
    alone.cancel()
    work.go.set()
    await asyncio.sleep(0.01)

    assert work.runs == 1
