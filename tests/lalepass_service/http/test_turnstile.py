"""What is begun in a turn of the loop, and what in the next one."""

import asyncio
from functools import partial

import pytest

from lalepass_service.http.turnstile import A_TURN, Turnstile

pytestmark = pytest.mark.anyio


async def test_a_few_are_begun_in_each_turn_in_the_order_in_which_they_came() -> None:
    turnstile, begun = Turnstile(asyncio.get_running_loop()), list[int]()
    for number in range(3 * A_TURN + 1):
        turnstile.add(partial(begun.append, number))
    assert begun == []

    for turns in range(1, 5):
        await asyncio.sleep(0)
        assert begun == list(range(min(turns * A_TURN, 3 * A_TURN + 1)))


async def test_it_goes_on_when_somebody_comes_later() -> None:
    turnstile, begun = Turnstile(asyncio.get_running_loop()), list[int]()
    for number in range(3):
        turnstile.add(partial(begun.append, number))
        await asyncio.sleep(0)

        assert begun == list(range(number + 1))


async def test_what_fails_holds_up_nobody() -> None:
    loop, begun, faults = asyncio.get_running_loop(), list[int](), list[object]()
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
    turnstile = Turnstile(loop)
    turnstile.add(partial(int, "x"))  # type: ignore[arg-type] # it raises
    turnstile.add(partial(begun.append, 1))
    for _ in range(2):
        await asyncio.sleep(0)

    assert begun == [1]
    assert [type(fault) for fault in faults] == [ValueError]
