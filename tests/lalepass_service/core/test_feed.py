"""Who follows the accounts, by the rules alone. How it looks from outside is tested over HTTP."""

import asyncio

import pytest

from lalepass_service.adapters.memory import (
    FixedClock,
    MemoryChanges,
    MemorySignOutOrders,
    MemoryUsers,
    NoThrottle,
)
from lalepass_service.core.errors import Throttled
from lalepass_service.core.feed import Asked, Feed
from lalepass_service.core.model import UserState
from lalepass_service.core.watch import Watch
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing

pytestmark = pytest.mark.anyio


class World:
    def __init__(self) -> None:
        self.users = users = MemoryUsers()
        changes = MemoryChanges(users)
        self.throttle = NoThrottle()
        self.feed = Feed(
            changes=changes,
            orders=MemorySignOutOrders(users),
            watch=Watch(changes.head),
            throttle=self.throttle,
            clock=FixedClock(NOW),
        )

    async def ask(self) -> None:
        """Ask each thing once."""
        cursor = (await self.feed.locked(caller="one", after=None, limit=1)).cursor
        await self.feed.changes(Asked(caller="two", after=cursor, limit=1, max_orders=1, wait=0))
        await self.feed.acknowledge([], caller="three")


async def test_each_question_counts_against_its_caller() -> None:
    world = World()

    await world.ask()

    assert world.throttle.hits == [(None, "one"), (None, "two"), (None, "three")]


async def test_who_asks_too_often_is_told_so() -> None:
    world = World()
    world.throttle.failure = Throttled(retry_after=1)

    with pytest.raises(Throttled):
        await world.ask()


@pytest.mark.parametrize(("limit", "told"), [(1, 1), (2, 2), (3, 3), (4, 3)])
async def test_there_is_more_only_if_there_is(limit: int, told: int) -> None:
    world = World()
    for name in ("a", "b", "c"):
        user = a_user(name, state=UserState.DISABLED)
        await world.users.add(user, None, reuse_name=False, act=ACT)

    locked = await world.feed.locked(caller="one", after=None, limit=limit)

    assert (len(locked.localparts), locked.more) == (told, told < 3)


@pytest.mark.parametrize(("letter", "together"), [("a", True), ('"', False), ("\\", False)])
async def test_an_account_is_as_large_as_what_is_sent_of_it(letter: str, *, together: bool) -> None:
    """JSON writes some letters as two, and an answer has a bound."""
    world = World()
    begin = (await world.feed.locked(caller="one", after=None, limit=1)).cursor
    large = a_user("large", emails=(letter * 12 * 1024,))
    for user in (a_user("small"), large):
        await world.users.add(user, None, reuse_name=False, act=ACT)
        await world.users.sign_out(user.id, now=standing(NOW), act=ACT)

    told = await world.feed.changes(
        Asked(caller="one", after=begin, limit=10, max_orders=0, wait=0)
    )

    assert [change.localpart for change in told.changes] == ["small", "large"][: 1 + together]
    assert told.more is not together


async def test_nobody_waits_who_has_something_to_be_told() -> None:
    world = World()
    begin = (await world.feed.locked(caller="one", after=None, limit=1)).cursor
    await world.users.add(a_user(), None, reuse_name=False, act=ACT)
    await world.users.sign_out(a_user().id, now=standing(NOW), act=ACT)

    async with asyncio.timeout(20):
        changes = await world.feed.changes(
            Asked(caller="one", after=begin, limit=1, max_orders=0, wait=1000)
        )
        orders = await world.feed.changes(
            Asked(caller="one", after=changes.cursor, limit=1, max_orders=1, wait=1000)
        )

    assert (len(changes.changes), len(changes.orders)) == (1, 0)
    assert (len(orders.changes), len(orders.orders)) == (0, 1)
