"""A check that remembers against one that does not, whatever becomes of the accounts meanwhile.

The accounts are changed over another connection than the one that checks read, as by another
process. The model keeps what an account was like when a password was last hashed, in its own words.
"""

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lalepass_service.adapters.keys import KeyDirectory, KeyVault
from lalepass_service.adapters.memory import FixedClock, InstantHasher, MemoryUsers
from lalepass_service.adapters.sql.migrate import Store, upgrade
from lalepass_service.adapters.sql.rewrap import Rewrap
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.check import Accepted, CredentialCheck
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, Identifier
from lalepass_service.core.model import Password, User, UserId, UserState
from lalepass_service.core.ports import Users
from lalepass_service.core.recent import RecentChecks
from tests.lalepass_service.accounts import ACT, NOW
from tests.lalepass_service.adapters.databases import opened

T = TypeVar("T")

SECONDS = 60
MOST = 2

names = st.sampled_from(["a", "b", "c"])
typed = st.sampled_from(["one", "two"])

Facts = dict[str, object]


class Remembering(RuleBasedStateMachine):
    """On a dictionary."""

    users: Users
    """What checks read."""
    changing: Users
    """What operators change."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FixedClock(NOW)
        self.made = 0
        self.model: dict[str, Facts] = {}
        self.ids: dict[str, UserId] = {}
        self.right: dict[str, str] = {}
        self.hashed: dict[UserId, tuple[Facts, str, float]] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> None:
        self.users = self.changing = MemoryUsers()

    async def close(self) -> None:
        pass

    @initialize()
    def begin(self) -> None:
        self.run(self.open())
        self.recent = RecentChecks(seconds=SECONDS, max_accounts=MOST, now=lambda: self.seconds)
        self.hasher = InstantHasher()
        self.check = CredentialCheck(
            users=self.users, hasher=self.hasher, clock=self.clock, recent=self.recent
        )
        self.plain = CredentialCheck(users=self.users, hasher=InstantHasher(), clock=self.clock)
        for name in ("a", "b"):
            self.add(name, "one")

    def teardown(self) -> None:
        self.run(self.close())
        self.runner.close()

    @property
    def seconds(self) -> float:
        return (self.clock.time - NOW).total_seconds()

    def changed(self, name: str, **facts: object) -> None:
        """Take down what an account is like now; no two changes come at the same moment."""
        self.model[name] = {**self.model.get(name, {}), **facts}
        self.clock.time += timedelta(microseconds=1)

    @rule(name=names, text=typed)
    def add(self, name: str, text: str) -> None:
        if name in self.ids:
            return
        self.made += 1
        user = User(
            id=UserId(f"id-{self.made}"),
            localpart=name,
            emails=(f"{name}@example.org",),
            created_at=NOW,
            password_changed_at=self.clock.time,
        )
        record = self.run(self.hasher.hash(Password(text)))
        self.run(self.changing.add(user, record, reuse_name=True, act=ACT))
        self.ids[name], self.right[name] = user.id, text
        self.model.pop(name, None)
        begun = {"state": "active", "admin": False, "called": None, "must": False, "end": None}
        self.changed(name, id=user.id, at=self.clock.time, **begun)

    @rule(
        name=names,
        text=typed,
        must_change=st.booleans(),
        expires=st.none() | st.sampled_from([30, 90]),
    )
    def set_password(
        self,
        name: str,
        text: str,
        must_change: bool,  # noqa: FBT001 - Hypothesis passes it by name
        expires: int | None,
    ) -> None:
        if name not in self.ids:
            return
        record = self.run(self.hasher.hash(Password(text)))
        end = None if expires is None else self.clock.time + timedelta(seconds=expires)
        work = self.changing.set_password(
            self.ids[name],
            record,
            changed_at=self.clock.time,
            must_change=must_change,
            expires_at=end,
            act=ACT,
        )
        assert self.run(work)
        self.right[name] = text
        self.changed(name, at=self.clock.time, must=must_change, end=end)

    @rule(name=names, state=st.sampled_from(UserState))
    def set_state(self, name: str, state: UserState) -> None:
        if name in self.ids:
            assert self.run(self.changing.set_state(self.ids[name], state, act=ACT))
            self.changed(name, state=str(state))

    @rule(name=names, admin=st.booleans(), called=st.sampled_from([None, "A", "B"]))
    def edit(self, name: str, admin: bool, called: str | None) -> None:  # noqa: FBT001 - as above
        if name not in self.ids:
            return

        def change(user: User) -> User:
            return replace(user, admin=admin, display_name=called)

        assert self.run(self.changing.edit(self.ids[name], change, act=ACT)) is not None
        self.changed(name, admin=admin, called=called)

    @rule(name=names)
    def delete(self, name: str) -> None:
        if name in self.ids:
            work = self.changing.delete(self.ids.pop(name), now=self.clock.now, act=ACT)
            assert self.run(work)
            del self.model[name]

    @rule(seconds=st.sampled_from([0, 1, 29, 30, 59, 60, 61]))
    def time_passes(self, seconds: int) -> None:
        self.clock.time += timedelta(seconds=seconds)

    @rule()
    def what_is_old_is_forgotten(self) -> None:
        self.recent.forget_old()
        young = [since for _, _, since in self.hashed.values() if self.seconds - since < SECONDS]
        assert len(self.recent) <= len(young)

    def look(self, name: str, text: str, identifier: Identifier) -> None:
        """Ask both, and hold the answer of the one that remembers against the other's."""
        calls = self.hasher.calls
        outcome = self.run(self.check.check(identifier, Password(text)))
        hashed = self.hasher.calls > calls
        known = isinstance(outcome, Accepted) and outcome.from_cache
        assert hashed != known
        expected = self.run(self.plain.check(identifier, Password(text)))
        if not known:
            assert outcome == expected
            if isinstance(outcome, Accepted):
                self.hashed[self.ids[name]] = (self.model[name], text, self.seconds)
            return
        assert outcome == replace(expected, from_cache=True)  # type: ignore[arg-type]
        facts, was, since = self.hashed[self.ids[name]]
        assert (facts, was) == (self.model[name], text)
        assert text == self.right[name]
        assert self.seconds - since < SECONDS

    @rule(name=names, text=typed)
    def by_name(self, name: str, text: str) -> None:
        self.look(name, text, ByLocalpart(name))

    @rule(name=names)
    def the_right_one_twice(self, name: str) -> None:
        for _ in range(2):
            self.look(name, self.right.get(name, "one"), ByEmail(f"{name}@example.org"))

    @invariant()
    def it_stays_small(self) -> None:
        if self.model:
            assert len(self.recent) <= MOST


class RememberingOverSql(Remembering):
    """On SQLite, with keys that are rotated; what is written goes over a connection of its own."""

    def make(self, folder: Path) -> Store:
        path = folder / "lalepass.db"
        upgrade(path)
        return path

    async def open(self) -> None:
        self.stack = AsyncExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        store = self.make(folder)
        self.directory = KeyDirectory(folder / "keys")
        self.directory.add()
        reading = await self.stack.enter_async_context(opened(store))
        writing = await self.stack.enter_async_context(opened(store))
        self.writing = writing.database
        self.users = SqlUsers(reading.database, KeyVault(self.directory), reading.hot)
        self.changing = SqlUsers(self.writing, KeyVault(self.directory))

    async def close(self) -> None:
        await self.stack.aclose()

    @rule()
    def rewrap(self) -> None:
        self.directory.promote(self.directory.add())
        work = Rewrap(database=self.writing, vault=KeyVault(self.directory), act=ACT, pause=0)
        self.run(work.run(lambda _: None))
        for name in self.model:
            self.changed(name, wrapped=self.seconds)


TestRemembering = Remembering.TestCase
TestRemembering.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRememberingOverSql = RememberingOverSql.TestCase
TestRememberingOverSql.settings = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
