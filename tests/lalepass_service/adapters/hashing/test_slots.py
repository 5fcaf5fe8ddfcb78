import asyncio
import gc
import os
import sys
import threading
import weakref
from functools import partial
from random import Random

import pytest

from lalepass_service.adapters.hashing.slots import Slots
from lalepass_service.core.errors import Overloaded
from tests.lalepass_service.adapters.hashing.gates import Gate, make
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio


async def long_crowd(slots: Slots, gate: Gate, size: int) -> list[asyncio.Task[str]]:
    """Send callers with work of a kind that may take long."""
    tasks = []
    for number in range(size):
        work = partial(gate.work, f"long {number}")
        tasks.append(asyncio.create_task(slots.run(work, kind="never measured")))
        await asyncio.sleep(0)
    return tasks


async def crowd(slots: Slots, gate: Gate, size: int) -> list[asyncio.Task[str]]:
    """Send so many callers, one after the other, and wait until each has its place."""
    tasks = []
    for number in range(size):
        work = partial(gate.work, str(number))
        tasks.append(asyncio.create_task(slots.run(work)))
        await asyncio.sleep(0)
    load = slots.load()
    assert load.busy + load.waiting == size
    await until(lambda: gate.inside == load.busy)
    return tasks


async def test_no_more_work_than_there_are_slots(gate: Gate) -> None:
    slots = make(count=2, max_waiting=8)
    tasks = await crowd(slots, gate, 8)

    gate.open()
    await asyncio.gather(*tasks)

    assert gate.most == 2
    await until(lambda: slots.load().busy == 0)
    assert slots.load().completed == 8
    slots.close()


async def test_one_more_than_may_wait_is_refused_at_once(gate: Gate) -> None:
    slots = make(count=2, max_waiting=3)
    tasks = await crowd(slots, gate, 5)

    # The gate is shut, so an answer can't have waited for a slot.
    with pytest.raises(Overloaded):
        await slots.run(gate.work)

    assert slots.load().shed == 1
    assert slots.load().waiting == 3
    gate.open()
    assert await asyncio.gather(*tasks) == ["0", "1", "2", "3", "4"]
    slots.close()


async def test_nobody_waits_where_nobody_may(gate: Gate) -> None:
    slots = make(count=1, max_waiting=0)
    (task,) = await crowd(slots, gate, 1)

    with pytest.raises(Overloaded):
        await slots.run(gate.work)

    gate.open()
    await task
    slots.close()


async def test_callers_are_served_in_the_order_in_which_they_came(gate: Gate) -> None:
    slots = make(count=1, max_waiting=8)
    tasks = await crowd(slots, gate, 8)

    gate.open()
    await asyncio.gather(*tasks)

    assert gate.order == [str(number) for number in range(8)]
    slots.close()


async def test_a_caller_who_waits_too_long_is_refused(gate: Gate) -> None:
    slots = make(count=1, max_waiting=3, deadline=0.01)
    (running,) = await crowd(slots, gate, 1)

    with pytest.raises(Overloaded):
        await slots.run(gate.work)

    load = slots.load()
    assert (load.busy, load.waiting, load.shed) == (1, 0, 1)
    gate.open()
    await running
    slots.close()


async def test_a_caller_who_stops_waiting_leaves_no_gap(gate: Gate) -> None:
    slots = make(count=1, max_waiting=3)
    running, leaving, staying = await crowd(slots, gate, 3)

    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert slots.load().waiting == 1
    gate.open()

    assert [await running, await staying] == ["0", "2"]
    slots.close()


async def test_the_slot_of_a_caller_who_hung_up_stays_taken_until_the_work_ends(
    gate: Gate,
) -> None:
    slots = make(count=1, max_waiting=1)
    running, waiting = await crowd(slots, gate, 2)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    load = slots.load()
    assert (load.busy, load.waiting) == (1, 1)
    with pytest.raises(Overloaded):
        await slots.run(gate.work)
    gate.open()
    assert await waiting == "1"
    assert gate.most == 1
    await until(lambda: slots.load().busy == 0)
    assert slots.load().completed == 2
    slots.close()


async def test_a_caller_who_hangs_up_the_moment_his_turn_comes_passes_it_on(gate: Gate) -> None:
    slots = make(count=1, max_waiting=3)
    loop = asyncio.get_running_loop()
    last_act = threading.Event()
    tasks: list[asyncio.Task[str]] = []

    def work() -> str:
        # In one round of the loop: first this, then the end of the work, which hands over the
        # slot. In the next: the cancellation, and only then would the next caller wake up.
        loop.call_soon_threadsafe(lambda: loop.call_soon(tasks[1].cancel))
        last_act.set()
        return "first"

    def go_ahead() -> str:
        gate.work()
        return work()

    tasks.append(asyncio.create_task(slots.run(go_ahead)))
    tasks.extend(asyncio.create_task(slots.run(lambda: "next")) for _ in range(2))
    await until(lambda: gate.inside == 1 and slots.load().waiting == 2)
    gate.open()
    # Hold the loop, so that both messages of the thread are read in the same round.
    last_act.wait(timeout=20)
    threading.Event().wait(timeout=0.05)

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[::2] == ["first", "next"]
    assert isinstance(outcomes[1], asyncio.CancelledError)
    slots.close()


@pytest.mark.parametrize("seed", range(5))
async def test_no_slot_is_ever_lost(gate: Gate, seed: int) -> None:
    gate.open()
    random = Random(seed)  # noqa: S311 - chooses who hangs up, and when
    slots = make(count=2, max_waiting=20, deadline=0.003, expected=0.0001)

    async def caller() -> None:
        kind = random.choice(["", "foreign", "another"])
        task = asyncio.create_task(slots.run(gate.work, kind=kind))
        for _ in range(random.randrange(12)):
            await asyncio.sleep(0)
        if random.random() < 0.5:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(10):
        await asyncio.gather(*(caller() for _ in range(40)))
    await until(lambda: slots.load().busy == 0)

    assert slots.load().waiting == 0
    assert gate.most <= 2
    slots.close()


async def test_work_that_fails_frees_its_slot() -> None:
    slots = make(count=1, max_waiting=0)

    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await slots.run(fail)
    await until(lambda: slots.load().busy == 0)

    assert await slots.run(lambda: "works") == "works"
    slots.close()


async def test_the_advice_to_come_back_is_the_time_the_queue_takes(gate: Gate) -> None:
    slots = make(count=2, max_waiting=2, expected=4.0)
    tasks = await crowd(slots, gate, 4)

    with pytest.raises(Overloaded) as caught:
        await slots.run(gate.work)

    assert caught.value.retry_after == 4 * 4.0 / 2
    gate.open()
    await asyncio.gather(*tasks)
    slots.close()


async def test_nobody_is_told_to_come_back_at_once(gate: Gate) -> None:
    slots = make(count=1, max_waiting=0, expected=0.001)
    tasks = await crowd(slots, gate, 1)

    with pytest.raises(Overloaded) as caught:
        await slots.run(gate.work)

    assert caught.value.retry_after == 1
    gate.open()
    await asyncio.gather(*tasks)
    slots.close()


async def test_the_estimate_follows_what_the_work_really_takes() -> None:
    slots = make(count=1, max_waiting=0, expected=1000.0)
    for _ in range(200):
        await slots.run(lambda: None)
    gate = Gate()
    (task,) = await crowd(slots, gate, 1)

    with pytest.raises(Overloaded) as caught:
        await slots.run(gate.work)

    assert caught.value.retry_after < 1000
    gate.open()
    await task
    slots.close()


async def test_closing_finishes_what_runs_and_refuses_what_waits(gate: Gate) -> None:
    slots = make(count=1, max_waiting=2)
    running, *waiting = await crowd(slots, gate, 3)

    gate.open()
    slots.close()

    assert await running == "0"
    for task in waiting:
        with pytest.raises(Overloaded):
            await task
    with pytest.raises(Overloaded):
        await slots.run(lambda: None)
    assert slots.load().busy == 0


async def test_closing_waits_no_longer_than_it_was_told(gate: Gate) -> None:
    slots = make(count=1)
    (running,) = await crowd(slots, gate, 1)

    slots.close(seconds=0.01)
    with pytest.raises(Overloaded):
        await slots.run(lambda: None)
    assert gate.inside == 1

    gate.open()
    slots.close()
    assert await running == "0"


class Secret:
    """Work that holds a password."""

    def __call__(self) -> None:
        pass


async def test_an_idle_thread_keeps_nothing_of_one_who_has_given_up(gate: Gate) -> None:
    slots = make(count=1)
    (running,) = await crowd(slots, gate, 1)
    secret = Secret()
    leaving = asyncio.create_task(slots.run(secret))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    kept = weakref.ref(secret)
    del secret, leaving

    gate.open()
    await running

    def forgotten() -> bool:
        gc.collect()
        return kept() is None

    # No other work comes by which it would be forgotten.
    await until(forgotten)
    slots.close()


async def test_who_would_wait_for_longer_than_the_deadline_is_told_so_at_once(gate: Gate) -> None:
    slots = make(count=1, max_waiting=100, deadline=60, expected=16)
    tasks = await crowd(slots, gate, 3)

    with pytest.raises(Overloaded):
        slots.admit()
    with pytest.raises(Overloaded):
        await slots.run(gate.work)

    assert (slots.load().waiting, slots.load().shed) == (2, 2)
    gate.open()
    await asyncio.gather(*tasks)
    slots.close()


async def test_a_free_slot_is_given_however_long_the_work_takes(gate: Gate) -> None:
    slots = make(count=1, max_waiting=1, deadline=0.01, expected=1000)
    gate.open()

    assert await slots.run(partial(gate.work, "slow")) == "slow"
    slots.close()


async def test_a_thread_goes_on_while_the_loop_is_held_up() -> None:
    """What comes after is not handed over by the loop, which may have other things to do."""
    slots = make(count=1, max_waiting=3)
    begun = threading.Event()
    first = asyncio.create_task(slots.run(lambda: "first"))
    second = asyncio.create_task(slots.run(begun.set))
    await asyncio.sleep(0)

    assert begun.wait(timeout=20)
    assert await first == "first"
    await second
    slots.close()


async def test_those_who_are_coming_count(gate: Gate) -> None:
    slots = make(count=2, max_waiting=3)
    tasks = await crowd(slots, gate, 3)

    slots.admit(coming=1)
    with pytest.raises(Overloaded):
        slots.admit(coming=2)

    gate.open()
    await asyncio.gather(*tasks)
    slots.close()


async def test_work_that_may_take_long_never_has_the_last_slot(gate: Gate) -> None:
    slots = make(count=2, max_waiting=3)
    long = await long_crowd(slots, gate, 3)
    await until(lambda: gate.inside == 1)

    for _ in range(10):
        assert await slots.run(lambda: "short") == "short"
    assert gate.inside == 1
    load = slots.load()
    assert (load.busy, load.waiting) == (1, 2)

    gate.open()
    assert await asyncio.gather(*long) == ["long 0", "long 1", "long 2"]
    await until(lambda: slots.load().busy == 0)
    assert gate.order == ["long 0", "long 1", "long 2"]
    assert slots.load().completed == 13
    slots.close()


async def test_foreign_work_that_is_known_to_be_short_may_have_all_slots(gate: Gate) -> None:
    slots = make(count=2, max_waiting=3, deadline=60)
    await slots.run(lambda: None, kind="foreign")
    await until(lambda: slots.load().busy == 0)

    tasks = [asyncio.create_task(slots.run(gate.work, kind="foreign")) for _ in range(2)]

    await until(lambda: gate.inside == 2)
    gate.open()
    await asyncio.gather(*tasks)
    slots.close()


async def test_the_only_slot_is_everybodys(gate: Gate) -> None:
    slots = make(count=1, max_waiting=3)
    gate.open()

    assert len(await asyncio.gather(*await long_crowd(slots, gate, 3))) == 3
    slots.close()


async def test_what_others_take_is_no_estimate_of_ours(gate: Gate) -> None:
    slots = make(count=2, max_waiting=9, deadline=60, expected=0.5)
    gate.open()
    for _ in range(20):
        await slots.run(gate.work, kind="foreign")

    assert slots.load().seconds == 0.5
    slots.close()


async def test_who_waits_behind_long_work_is_let_in_by_what_short_work_takes(gate: Gate) -> None:
    """A long one at work is no reason to turn others away: they have a slot of their own."""
    slots = make(count=2, max_waiting=9, deadline=0.3, expected=0.001)
    long = await long_crowd(slots, gate, 1)
    await until(lambda: gate.inside == 1)
    short = asyncio.create_task(slots.run(gate.work))
    await until(lambda: gate.inside == 2)

    slots.admit()

    gate.open()
    await asyncio.gather(*long, short)
    slots.close()


async def test_one_that_is_held_back_for_too_long_is_refused(gate: Gate) -> None:
    slots = make(count=2, max_waiting=3, deadline=0.01)
    (running,) = await long_crowd(slots, gate, 1)

    (held,) = await long_crowd(slots, gate, 1)
    with pytest.raises(Overloaded):
        await held

    assert slots.load().waiting == 0
    gate.open()
    await running
    slots.close()


async def test_one_that_is_held_back_and_leaves_holds_nobody_up(gate: Gate) -> None:
    slots = make(count=2, max_waiting=3)
    running, leaving, staying = await long_crowd(slots, gate, 3)

    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert slots.load().waiting == 1
    gate.open()

    assert [await running, await staying] == ["long 0", "long 2"]
    slots.close()


async def test_of_long_ones_no_more_wait_than_may(gate: Gate) -> None:
    slots = make(count=2, max_waiting=3)
    tasks = await long_crowd(slots, gate, 4)
    short = asyncio.create_task(slots.run(gate.work))
    await until(lambda: gate.inside == 2)

    with pytest.raises(Overloaded):
        await slots.run(gate.work)
    with pytest.raises(Overloaded):
        await slots.run(gate.work, kind="never measured")

    gate.open()
    await asyncio.gather(*tasks, short)
    slots.close()


async def test_a_long_one_that_would_be_held_back_for_too_long_is_told_so_at_once(
    gate: Gate,
) -> None:
    slots = make(count=2, max_waiting=9, deadline=0.01)
    gate.open()
    await slots.run(partial(threading.Event().wait, 0.05), kind="slow")
    shut = Gate()
    running = asyncio.create_task(slots.run(shut.work, kind="slow"))
    await until(lambda: shut.inside == 1)

    with pytest.raises(Overloaded):
        await slots.run(gate.work, kind="slow")

    assert slots.load().waiting == 0
    shut.open()
    await running
    slots.close()


async def test_closing_refuses_what_is_held_back(gate: Gate) -> None:
    slots = make(count=2, max_waiting=3)
    running, *held = await long_crowd(slots, gate, 3)
    await until(lambda: gate.inside == 1)

    gate.open()
    slots.close()

    assert await running == "long 0"
    for task in held:
        with pytest.raises(Overloaded):
            await task
    assert (slots.load().busy, slots.load().waiting) == (0, 0)


async def test_it_is_counted_how_long_each_has_waited_for_a_slot(gate: Gate) -> None:
    slots = make(count=1, max_waiting=3)
    tasks = await crowd(slots, gate, 3)
    await asyncio.sleep(0.06)
    gate.open()
    await asyncio.gather(*tasks)
    await until(lambda: slots.load().completed == 3)

    counts, total = slots.load().waits
    assert sum(count for _, count in counts) == 3
    # Two waited behind the first one.
    assert sum(count for bound, count in counts if bound > 0.05) >= 2
    assert total >= 0.1
    slots.close()


async def test_who_is_refused_has_waited_for_no_slot(gate: Gate) -> None:
    slots = make(count=1, max_waiting=3, deadline=0.01)
    (running,) = await crowd(slots, gate, 1)
    with pytest.raises(Overloaded):
        await slots.run(gate.work)
    gate.open()
    await running
    await until(lambda: slots.load().completed == 1)

    assert sum(count for _, count in slots.load().waits[0]) == 1
    slots.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux")
async def test_hashing_threads_let_the_loop_go_first() -> None:
    slots = make(count=1)
    mine = os.getpriority(os.PRIO_PROCESS, 0)

    theirs = await slots.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    assert theirs == min(19, mine + 5)
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine
    slots.close()
