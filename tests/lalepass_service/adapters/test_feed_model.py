"""Whoever follows ends up with exactly the locked accounts, in whatever order things happen."""

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from lalepass_service.adapters.memory import (
    FixedClock,
    MemoryChanges,
    MemorySignOutOrders,
    MemoryUsers,
    NoThrottle,
)
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.feed import SqlChanges
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.orders import SqlSignOutOrders
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.changes import Changes, SignOutOrders
from lalepass_service.core.errors import Conflict
from lalepass_service.core.feed import Asked, Feed
from lalepass_service.core.model import PasswordRecord, User, UserId, UserState
from lalepass_service.core.ports import Users
from lalepass_service.core.watch import Watch
from tests.lalepass_service.accounts import ACT, NOW, a_user, standing

T = TypeVar("T")

names = st.sampled_from(["a", "b", "c", "d"])


class Follower:
    """What a homeserver does: the locked names by pages, then what changes from the first one on.

    It also carries out orders, and keeps what it is told of each account.
    """

    def __init__(self, feed: Feed, name: str, size: int) -> None:
        self.feed = feed
        self.name = name
        self.size = size
        self.locked: set[str] = set()
        self.told: dict[str, User | None] = {}
        self.orders: list[str] = []
        self.cursor = ""
        self.after: str | None = None
        self.reading = True

    async def step(self) -> bool:
        """Ask once. Returns whether there is more."""
        if self.reading:
            page = await self.feed.locked(caller=self.name, after=self.after, limit=self.size)
            self.cursor = self.cursor or page.cursor
            self.locked |= set(page.localparts)
            self.reading = page.more
            self.after = page.localparts[-1] if page.localparts else None
            return True
        asked = Asked(
            caller=self.name, after=self.cursor, wait=0, limit=self.size, max_orders=self.size
        )
        answer = await self.feed.changes(asked)
        self.cursor = answer.cursor
        for change in answer.changes:
            self.told[change.localpart] = change.user
            if change.user is not None and change.user.state is UserState.ACTIVE:
                self.locked.discard(change.localpart)
            else:
                self.locked.add(change.localpart)
        ids = [order.id for order, _ in answer.orders]
        self.orders += ids
        if ids:
            await self.feed.acknowledge(ids, caller=self.name)
        return answer.more or bool(ids)


class Following(RuleBasedStateMachine):
    """Accounts that change, and homeservers that begin to follow at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.users_by_name: dict[str, User] = {}
        self.retired: set[str] = set()
        self.made = 0
        self.followers: list[Follower] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def begin(self, users: Users, changes: Changes, orders: SignOutOrders) -> None:
        self.users = users
        self.orders = orders
        self.feed = Feed(
            changes=changes,
            orders=orders,
            watch=Watch(changes.head),
            throttle=NoThrottle(),
            clock=FixedClock(NOW),
        )

    @initialize()
    def open(self) -> None:
        users = MemoryUsers()
        self.begin(users, MemoryChanges(users), MemorySignOutOrders(users))

    @rule(name=names, state=st.sampled_from(UserState), reuse=st.booleans())
    def add(self, name: str, state: UserState, reuse: bool) -> None:  # noqa: FBT001 - by name
        self.made += 1
        user = replace(a_user(name, state=state), id=UserId(str(self.made)))
        try:
            self.run(self.users.add(user, None, reuse_name=reuse, act=ACT))
        except Conflict:
            return
        self.users_by_name[name] = user
        self.retired.discard(name)

    def id_of(self, name: str) -> UserId:
        return self.users_by_name[name].id if name in self.users_by_name else UserId("none")

    @rule(name=names, state=st.sampled_from(UserState))
    def set_state(self, name: str, state: UserState) -> None:
        if self.run(self.users.set_state(self.id_of(name), state, act=ACT)):
            self.users_by_name[name] = replace(self.users_by_name[name], state=state)

    @rule(name=names, display_name=st.sampled_from([None, "x", "y"]))
    def edit(self, name: str, display_name: str | None) -> None:
        def change(user: User) -> User:
            return replace(user, display_name=display_name)

        if self.run(self.users.edit(self.id_of(name), change, act=ACT)):
            self.users_by_name[name] = change(self.users_by_name[name])

    @rule(name=names, sign_out=st.booleans())
    def set_password(self, name: str, sign_out: bool) -> None:  # noqa: FBT001 - by name
        self.run(
            self.users.set_password(
                self.id_of(name),
                PasswordRecord("$"),
                changed_at=NOW,
                sign_out=standing(NOW) if sign_out else None,
                act=ACT,
            )
        )

    @rule(name=names)
    def delete(self, name: str) -> None:
        if self.run(self.users.delete(self.id_of(name), now=standing(NOW), act=ACT)):
            del self.users_by_name[name]
            self.retired.add(name)

    @rule(size=st.integers(1, 3))
    @precondition(lambda self: len(self.followers) < 3)
    def follow(self, size: int) -> None:
        self.followers.append(Follower(self.feed, f"hs{len(self.followers)}", size))

    @rule(number=st.integers(0, 2), steps=st.integers(1, 3))
    def step(self, number: int, steps: int) -> None:
        for follower in self.followers[number : number + 1]:
            for _ in range(steps):
                self.run(follower.step())

    @rule()
    def all_catch_up(self) -> None:
        locked = {
            name for name, user in self.users_by_name.items() if user.state is not UserState.ACTIVE
        } | self.retired
        for follower in self.followers:
            while self.run(follower.step()):
                pass
            assert follower.locked == locked
            assert len(follower.orders) == len(set(follower.orders))
            assert not self.run(self.orders.pending(follower.name, limit=9))
            for name, told in follower.told.items():
                now = self.users_by_name.get(name)
                assert (told and told.display_name) == (now and now.display_name)

    def teardown(self) -> None:
        if hasattr(self, "feed"):
            self.all_catch_up()
        self.runner.close()


class FollowingSqlite(Following):
    """The same on a database."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "lalepass.db"
        upgrade(path)
        self.database = Database.open(path)
        self.lane, self.hot = HotPath.open(path), HotPath.open(path)
        orders = SqlSignOutOrders(lane=self.lane, hot=self.hot)
        self.begin(SqlUsers(self.database), SqlChanges(self.lane), orders)

    def teardown(self) -> None:
        if hasattr(self, "feed"):
            self.all_catch_up()
            for part in (self.lane, self.hot, self.database):
                self.run(part.close())
            self.folder.cleanup()
        self.runner.close()


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestFollowingSqlite = FollowingSqlite.TestCase
TestFollowingSqlite.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
