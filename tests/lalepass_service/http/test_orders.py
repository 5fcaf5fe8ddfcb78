"""Orders as a homeserver gets them. What the stores do is in `adapters/test_orders.py`."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from lalepass_service.core.model import Scope, UserId
from lalepass_wire import limits, paths
from tests.lalepass_service.accounts import ACT, BY, NOW, a_user, standing
from tests.lalepass_service.http.feeding import ask, somebody_waits
from tests.lalepass_service.http.world import World

pytestmark = pytest.mark.anyio


async def test_an_order_is_repeated_until_it_is_acknowledged_by_each_caller(
    follower: httpx.AsyncClient, world: World
) -> None:
    _, other_token = await world.registry.create("other", [Scope.FEED], by=BY)
    await world.users.sign_out(
        UserId("id-alice"), now=standing(NOW - timedelta(seconds=90)), act=ACT
    )

    first = await ask(follower, orders=True)
    again = await ask(follower, first.cursor, orders=True, wait=20)
    (order,) = first.sign_outs
    done = await follower.post(paths.ACKNOWLEDGE_ORDERS, json={"orders": [order.id, "unknown"]})
    after = await ask(follower, first.cursor, orders=True)

    assert (order.account_id, order.localpart, order.age_seconds) == ("id-alice", "alice", 90)
    assert again.sign_outs == (order,)
    assert done.json() == {"result": "done"}
    assert after.sign_outs == ()
    async with world.follower(other_token) as other:
        assert (await ask(other, orders=True)).sign_outs == (order,)


async def test_orders_that_can_not_be_carried_out_hide_no_others(
    follower: httpx.AsyncClient, world: World
) -> None:
    """An answer has room for 100; each has the next ones, and after the last the first again."""
    names = [f"user-{number:03}" for number in range(250)]
    for name in names:
        await world.users.add(a_user(name), None, reuse_name=False, act=ACT)
        await world.users.sign_out(UserId(f"id-{name}"), now=standing(NOW), act=ACT)

    told = [
        [each.localpart for each in (await ask(follower, orders=True)).sign_outs] for _ in range(5)
    ]

    assert told == [
        names[:100],
        names[100:200],
        names[200:] + names[:50],
        names[50:150],
        names[150:],
    ]
    _, other_token = await world.registry.create("other", [Scope.FEED], by=BY)
    async with world.follower(other_token) as other:
        first = (await ask(other, orders=True)).sign_outs
        assert [each.localpart for each in first] == names[:100]
        # What is done is not shown again, and those that are left are found at once.
        ids = [each.id for each in first]
        await other.post(paths.ACKNOWLEDGE_ORDERS, json={"orders": ids})
        shown: set[str] = set()
        for _ in range(2):
            shown |= {each.localpart for each in (await ask(other, orders=True)).sign_outs}
        assert shown == set(names[100:])


async def test_who_has_room_for_all_orders_sees_all_of_them_each_time(
    follower: httpx.AsyncClient, world: World
) -> None:
    for number in range(limits.MAX_ORDERS - 1):
        await world.users.add(a_user(f"user-{number}"), None, reuse_name=False, act=ACT)
        await world.users.sign_out(UserId(f"id-user-{number}"), now=standing(NOW), act=ACT)

    first = (await ask(follower, orders=True)).sign_outs

    assert len(first) == limits.MAX_ORDERS - 1
    assert (await ask(follower, orders=True)).sign_outs == first


async def test_who_carries_out_no_orders_is_told_of_none(
    follower: httpx.AsyncClient, world: World
) -> None:
    await world.users.sign_out(UserId("id-alice"), now=standing(NOW), act=ACT)

    told = await ask(follower)

    assert told.sign_outs == ()
    assert told.accounts[-1].localpart == "alice"


async def test_an_order_from_a_clock_that_is_ahead_has_no_age(
    follower: httpx.AsyncClient, world: World
) -> None:
    await world.users.sign_out(UserId("id-alice"), now=standing(NOW + timedelta(hours=1)), act=ACT)

    (order,) = (await ask(follower, orders=True)).sign_outs

    assert order.age_seconds == 0


async def test_an_order_wakes_who_waits(follower: httpx.AsyncClient, world: World) -> None:
    cursor = (await ask(follower)).cursor
    waiting = asyncio.create_task(ask(follower, cursor, wait=20, orders=True))
    await somebody_waits(world)

    await world.users.sign_out(UserId("id-alice"), now=standing(NOW), act=ACT)

    async with asyncio.timeout(15):
        assert len((await waiting).sign_outs) == 1
