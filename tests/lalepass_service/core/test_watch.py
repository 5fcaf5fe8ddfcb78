"""One look for all who wait, and nobody waits for ever."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.watch import Watch

pytestmark = pytest.mark.anyio

LONG = 60.0
"""Seconds that no test takes."""


class Head:
    """The newest place, and how often it was asked for."""

    def __init__(self) -> None:
        self.seq = 0
        self.looks = 0
        self.failure: Exception | None = None

    async def __call__(self) -> int:
        self.looks += 1
        if self.failure is not None:
            raise self.failure
        return self.seq


@pytest.fixture
def head() -> Head:
    return Head()


@pytest.fixture
async def watch(head: Head) -> AsyncIterator[Watch]:
    watch = Watch(head, pause=0.01, max_waiting=50)
    yield watch
    await watch.close()
    assert watch.waiting == 0


def start(watch: Watch, seq: int = 0, seconds: float = LONG) -> "asyncio.Task[None]":
    return asyncio.create_task(watch.beyond(seq, seconds=seconds))


async def looks_more(head: Head) -> None:
    """Wait until there was another look."""
    before = head.looks
    async with asyncio.timeout(LONG / 2):
        while head.looks < before + 2:  # noqa: ASYNC110 - nobody tells of a look
            await asyncio.sleep(0.001)


async def ends(*tasks: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(LONG / 2):
        await asyncio.gather(*tasks)


async def test_what_is_there_already_is_not_waited_for(watch: Watch, head: Head) -> None:
    head.seq = 5

    await ends(start(watch, 4))


async def test_everybody_is_woken_by_what_is_behind_their_place(watch: Watch, head: Head) -> None:
    early, late = start(watch, 3), start(watch, 7)
    head.seq = 3
    await looks_more(head)
    assert not early.done()

    head.seq = 7

    await ends(early)
    assert not late.done()
    head.seq = 8
    await ends(late)


async def test_all_who_wait_share_a_look(watch: Watch, head: Head) -> None:
    waiting = [start(watch) for _ in range(50)]
    for _ in range(5):
        await looks_more(head)
    assert watch.waiting == 50
    assert head.looks <= 50

    head.seq = 1
    await ends(*waiting)


async def test_nobody_looks_while_nobody_waits(watch: Watch, head: Head) -> None:
    await asyncio.sleep(0.05)
    assert head.looks == 0

    await start(watch, seconds=0.02)
    await asyncio.sleep(0.05)
    looks = head.looks
    await asyncio.sleep(0.1)

    assert head.looks == looks
    await start(watch, seconds=0.02)
    assert head.looks > looks


async def test_the_time_ends(watch: Watch) -> None:
    await ends(start(watch, seconds=0.01))


async def test_one_too_many_does_not_wait(watch: Watch, head: Head) -> None:
    waiting = [start(watch) for _ in range(50)]
    await looks_more(head)

    await ends(start(watch))

    assert not any(task.done() for task in waiting)
    waiting.pop().cancel()
    await looks_more(head)
    more = start(watch)
    await looks_more(head)
    assert not more.done()


async def test_at_the_end_everybody_is_let_go_and_nobody_is_kept(watch: Watch, head: Head) -> None:
    waiting = [start(watch) for _ in range(9)]
    await looks_more(head)

    watch.stop()

    await ends(*waiting)
    await ends(start(watch))
    assert watch.waiting == 0


async def test_a_lost_database_wakes_nobody_and_is_got_over(watch: Watch, head: Head) -> None:
    waiting = start(watch)
    head.failure = StoreUnavailable()
    await looks_more(head)
    assert not waiting.done()

    head.failure, head.seq = None, 1

    await ends(waiting)


async def test_a_fault_keeps_nobody_waiting(head: Head) -> None:
    """They look for themselves, and the fault is theirs to report."""
    watch = Watch(head, pause=LONG)
    head.failure = ZeroDivisionError()

    await ends(start(watch), start(watch))
    head.failure, head.seq = None, 1
    await ends(start(watch))
    await watch.close()


async def test_a_change_of_our_own_is_seen_at_once(head: Head) -> None:
    watch = Watch(head, pause=LONG)
    waiting = start(watch)
    while not head.looks:  # noqa: ASYNC110 - nobody tells of a look
        await asyncio.sleep(0.001)

    head.seq = 1
    watch.notice()

    await ends(waiting)
    await watch.close()


async def test_who_has_gone_is_forgotten(watch: Watch, head: Head) -> None:
    waiting = start(watch)
    await looks_more(head)
    waiting.cancel()
    await asyncio.wait((waiting,))

    assert watch.waiting == 0
