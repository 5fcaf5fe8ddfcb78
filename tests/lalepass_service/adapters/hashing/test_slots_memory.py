"""Records that take more memory than ours never take more than there is for them, all together."""

import asyncio
import threading
from functools import partial
from random import Random

import pytest

from lalepass_service.adapters.hashing.admission import Admission
from lalepass_service.adapters.hashing.jobs import Job
from lalepass_service.adapters.hashing.slots import Slots
from lalepass_service.core.errors import Overloaded
from tests.lalepass_service.adapters.hashing.gates import Gate, make
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio

_BOUND = 100


async def known(slots: Slots, *kinds: str) -> None:
    """Let it be known that work of these kinds is short, so that it is not held back as long."""
    for kind in kinds:
        await slots.run(lambda: None, kind=kind)
    await until(lambda: slots.load().busy == 0)


async def send(
    slots: Slots, gate: Gate, *jobs: tuple[str, int], kind: str = "heavy"
) -> list[asyncio.Task[str]]:
    """Send callers one after the other, whose work has a name and takes so many KiB more."""
    tasks = []
    for name, extra_kib in jobs:
        work = partial(gate.work, name)
        tasks.append(asyncio.create_task(slots.run(work, kind=kind, extra_kib=extra_kib)))
        await asyncio.sleep(0)
    return tasks


async def test_what_does_not_fit_beside_others_waits_for_them(gate: Gate) -> None:
    slots = make(count=4, max_waiting=9)
    await known(slots, "heavy")
    tasks = await send(slots, gate, ("a", 60), ("b", 60), ("c", 60))
    await until(lambda: gate.inside == 1)

    load = slots.load()
    assert (load.busy, load.waiting, load.held, load.extra_kib) == (1, 2, 2, 60)

    gate.open()
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]
    assert gate.most == 1
    assert gate.order == ["a", "b", "c"]
    await until(lambda: slots.load().busy == 0)
    assert (slots.load().held, slots.load().extra_kib) == (0, 0)
    slots.close()


async def test_what_fits_beside_others_does_not_wait(gate: Gate) -> None:
    slots = make(count=4, max_waiting=9)
    await known(slots, "heavy")
    tasks = await send(slots, gate, ("a", 60), ("b", 40))

    await until(lambda: gate.inside == 2)

    gate.open()
    await asyncio.gather(*tasks)
    slots.close()


async def test_the_end_of_one_may_let_several_in() -> None:
    slots, first, others = make(count=4, max_waiting=9), Gate(), Gate()
    await known(slots, "heavy")
    tasks = await send(slots, first, ("large", 100))
    tasks += await send(slots, others, *((f"small {number}", 30) for number in range(4)))
    assert slots.load().held == 4

    first.open()
    await until(lambda: others.inside == 3)
    assert slots.load().held == 1

    others.open()
    await asyncio.gather(*tasks)
    slots.close()


async def test_our_own_work_and_small_foreign_work_is_never_held_back(gate: Gate) -> None:
    slots = make(count=2, max_waiting=9)
    await known(slots, "heavy", "small")
    heavy = await send(slots, gate, ("a", 100), ("b", 100), ("c", 100))
    await until(lambda: gate.inside == 1)

    for _ in range(10):
        assert await slots.run(lambda: "ours") == "ours"
        assert await slots.run(lambda: "small", kind="small") == "small"
    assert (gate.inside, slots.load().held) == (1, 2)

    gate.open()
    await asyncio.gather(*heavy)
    slots.close()


async def test_a_small_one_does_not_pass_a_large_one_that_came_before_it() -> None:
    """Or the large one would wait for as long as small ones come."""
    slots, first, others = make(count=4, max_waiting=9), Gate(), Gate()
    await known(slots, "heavy")
    running = await send(slots, first, ("running", 60))
    waiting = await send(slots, others, ("large", 100), ("small", 10))
    assert slots.load().held == 2

    first.open()
    await until(lambda: others.order == ["large"])
    assert slots.load().held == 1
    others.open()
    await asyncio.gather(*running, *waiting)

    assert others.order == ["large", "small"]
    slots.close()


async def test_who_waits_for_memory_keeps_nobody_from_the_slots_of_long_work(gate: Gate) -> None:
    slots = make(count=4, max_waiting=9)
    await known(slots, "heavy")
    heavy = await send(slots, gate, ("a", 100), ("b", 100))

    long = await send(slots, gate, ("long", 0), kind="never measured")
    await until(lambda: gate.inside == 2)
    assert slots.load().held == 1

    gate.open()
    await asyncio.gather(*heavy, *long)
    slots.close()


async def test_long_work_that_takes_memory_waits_for_both() -> None:
    slots, first, others = make(count=2, max_waiting=9), Gate(), Gate()
    await known(slots, "heavy")
    heavy = await send(slots, first, ("heavy", 100))
    both = await send(slots, others, ("both", 50), kind="never measured")
    long = await send(slots, others, ("long", 0), kind="never measured as well")
    # The one slot for long work is free, and is the next one's: who came later waits behind it.
    assert slots.load().held == 2

    first.open()
    await until(lambda: others.order == ["both"])
    assert slots.load().held == 1
    others.open()
    await asyncio.gather(*heavy, *both, *long)

    assert others.order == ["both", "long"]
    slots.close()


async def test_one_that_leaves_lets_those_in_who_waited_behind_it(gate: Gate) -> None:
    slots = make(count=4, max_waiting=9)
    await known(slots, "heavy")
    running, leaving, staying = await send(slots, gate, ("a", 60), ("b", 60), ("c", 40))
    assert slots.load().held == 2

    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await until(lambda: gate.inside == 2)

    gate.open()
    assert [await running, await staying] == ["a", "c"]
    slots.close()


async def test_one_that_hangs_up_at_work_keeps_its_memory_until_the_work_ends(gate: Gate) -> None:
    slots = make(count=4, max_waiting=9)
    await known(slots, "heavy")
    leaving, waiting = await send(slots, gate, ("a", 60), ("b", 60))
    await until(lambda: gate.inside == 1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    assert (slots.load().held, slots.load().extra_kib) == (1, 60)

    gate.open()
    assert await waiting == "b"
    assert gate.most == 1
    slots.close()


async def test_one_that_waits_for_memory_for_too_long_is_refused(gate: Gate) -> None:
    slots = make(count=4, max_waiting=9, deadline=0.01)
    await known(slots, "heavy")
    (running,) = await send(slots, gate, ("a", 100))

    with pytest.raises(Overloaded):
        await slots.run(gate.work, kind="heavy", extra_kib=100)

    assert (slots.load().held, slots.load().shed) == (0, 1)
    gate.open()
    await running
    slots.close()


async def test_one_that_would_wait_for_memory_for_too_long_is_told_so_at_once() -> None:
    admission = Admission(
        count=4, max_waiting=99, deadline=10, expected_duration=0.01, extra_kib=_BOUND
    )

    def come(extra_kib: int) -> Job:
        done = asyncio.get_running_loop().create_future()
        job = admission.job(lambda: None, done, "heavy", extra_kib=extra_kib)
        admission.enter(job)
        return job

    # Three seconds are less than a third of the deadline: it is not for its time that it waits.
    admission.leave(come(100), seconds=3.0)
    for extra_kib in (100, 50, 50):
        come(extra_kib)
    assert admission.load().held == 2

    # Two turns of three seconds are before it, which is as much as may be; then there are more.
    come(10)
    with pytest.raises(Overloaded):
        come(10)
    assert (admission.load().held, admission.load().shed) == (3, 1)


async def test_of_those_who_wait_for_memory_no_more_wait_than_may(gate: Gate) -> None:
    slots = make(count=1, max_waiting=2)
    await known(slots, "heavy")
    tasks = await send(slots, gate, *((str(number), 100) for number in range(3)))

    with pytest.raises(Overloaded):
        await slots.run(gate.work, kind="heavy", extra_kib=100)

    gate.open()
    await asyncio.gather(*tasks)
    slots.close()


async def test_one_that_takes_more_than_there_is_has_it_alone(gate: Gate) -> None:
    slots = make(count=4, max_waiting=9)
    await known(slots, "heavy")
    tasks = await send(slots, gate, ("a", 1000), ("b", 1), ("c", 1000))
    await until(lambda: gate.inside == 1)
    assert slots.load().held == 2

    gate.open()
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]
    assert gate.most == 1
    slots.close()


async def test_closing_refuses_those_who_wait_for_memory(gate: Gate) -> None:
    slots = make(count=4, max_waiting=9)
    await known(slots, "heavy")
    running, *held = await send(slots, gate, ("a", 100), ("b", 100), ("c", 100))
    await until(lambda: gate.inside == 1)

    gate.open()
    slots.close()

    assert await running == "a"
    for task in held:
        with pytest.raises(Overloaded):
            await task
    assert (slots.load().busy, slots.load().waiting, slots.load().extra_kib) == (0, 0, 0)


class Scales:
    """Knows how much all that is at work takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = 0
        self.most = 0

    def work(self, extra_kib: int) -> None:
        with self._lock:
            self.taken += extra_kib
            self.most = max(self.most, self.taken)
        threading.Event().wait(0.0005)
        with self._lock:
            self.taken -= extra_kib


@pytest.mark.parametrize("seed", range(5))
async def test_whoever_comes_and_goes_there_is_never_more_and_nothing_is_lost(seed: int) -> None:
    random, scales = Random(seed), Scales()  # noqa: S311 - chooses who comes, and who hangs up
    slots = make(count=4, max_waiting=200, deadline=0.05, expected=0.0001, extra_kib=_BOUND)

    async def caller() -> None:
        kind, extra_kib = random.choice(
            [("", 0), ("foreign", 0), ("b", 20), ("c", 50), ("d", 90), ("e", 100)]
        )
        work = partial(scales.work, extra_kib)
        task = asyncio.create_task(slots.run(work, kind=kind, extra_kib=extra_kib))
        for _ in range(random.randrange(12)):
            await asyncio.sleep(0)
        if random.random() < 0.3:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(10):
        await asyncio.gather(*(caller() for _ in range(40)))
    await until(lambda: slots.load().busy == 0)

    load = slots.load()
    assert (load.waiting, load.held, load.extra_kib) == (0, 0, 0)
    assert 0 < scales.most <= _BOUND
    slots.close()
