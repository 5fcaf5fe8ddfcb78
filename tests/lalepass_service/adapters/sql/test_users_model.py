"""SqlUsers against a dictionary, in whatever order Hypothesis thinks of."""

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import AlreadyTaken, Conflict, NameRetired
from lalepass_service.core.identifiers import ByEmail, ByLocalpart
from lalepass_service.core.model import PasswordRecord, User, UserId, UserState
from tests.lalepass_service.accounts import ACT, NOW, standing

T = TypeVar("T")

# Few of each, so that they meet often.
names = st.sampled_from(["a", "b", "a%", "_"])
addresses = st.lists(st.sampled_from(["x@x", "y@x", "%@x"]), unique=True, max_size=2).map(tuple)
records = st.none() | st.sampled_from(["$1$", "$2$"]).map(PasswordRecord)


class Accounts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.model: dict[str, tuple[User, PasswordRecord | None]] = {}
        self.retired: set[str] = set()
        self.made = 0

    def make(self) -> Database:
        path = Path(self.folder.name) / "lalepass.db"
        upgrade(path)
        return Database.open(path)

    @initialize()
    def open(self) -> None:
        self.database = self.make()
        self.users = SqlUsers(self.database)

    def teardown(self) -> None:
        self.run(self.database.close())
        self.runner.close()
        self.folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def expected(
        self, localpart: str, emails: tuple[str, ...], *, reuse: bool
    ) -> type[Conflict] | None:
        if localpart in self.retired and not reuse:
            return NameRetired
        held = {email for user, _ in self.model.values() for email in user.emails}
        return AlreadyTaken if localpart in self.model or held & set(emails) else None

    @rule(localpart=names, emails=addresses, record=records, reuse=st.booleans())
    def add(
        self,
        localpart: str,
        emails: tuple[str, ...],
        record: PasswordRecord | None,
        reuse: bool,  # noqa: FBT001 - Hypothesis passes it by name
    ) -> None:
        self.made += 1
        user = User(
            id=UserId(str(self.made)),
            localpart=localpart,
            emails=emails,
            created_at=NOW,
            password_changed_at=NOW if record else None,
        )
        expected = self.expected(localpart, emails, reuse=reuse)
        adding = self.users.add(user, record, reuse_name=reuse, act=ACT)
        if expected is not None:
            with pytest.raises(expected):
                self.run(adding)
            return
        self.run(adding)
        self.retired.discard(localpart)
        self.model[localpart] = (user, record)

    def id_of(self, localpart: str) -> UserId:
        return self.model[localpart][0].id if localpart in self.model else UserId("none")

    @rule(localpart=names, record=records.filter(bool), days=st.integers(0, 9))
    def set_password(self, localpart: str, record: PasswordRecord, days: int) -> None:
        moment = NOW + timedelta(days=days)
        done = self.run(
            self.users.set_password(self.id_of(localpart), record, changed_at=moment, act=ACT)
        )
        assert done == (localpart in self.model)
        if done:
            user, _ = self.model[localpart]
            self.model[localpart] = (replace(user, password_changed_at=moment), record)

    @rule(localpart=names, state=st.sampled_from(UserState))
    def set_state(self, localpart: str, state: UserState) -> None:
        done = self.run(self.users.set_state(self.id_of(localpart), state, act=ACT))
        assert done == (localpart in self.model)
        if done:
            user, record = self.model[localpart]
            self.model[localpart] = (replace(user, state=state), record)

    @rule(localpart=names)
    def delete(self, localpart: str) -> None:
        done = self.run(self.users.delete(self.id_of(localpart), now=standing(NOW), act=ACT))
        assert done == (localpart in self.model)
        if done:
            del self.model[localpart]
            self.retired.add(localpart)

    @rule(localpart=names)
    def credentials(self, localpart: str) -> None:
        found = self.run(self.users.credentials(ByLocalpart(localpart)))
        pair = (found.user, found.record) if found else None
        assert pair == self.model.get(localpart)

    @rule(address=st.sampled_from(["x@x", "y@x", "%@x", "_@x"]))
    def find_by_address(self, address: str) -> None:
        owners = [user for user, _ in self.model.values() if address in user.emails]
        assert self.run(self.users.find(ByEmail(address))) == (owners[0] if owners else None)

    @invariant()
    def everyone_is_listed(self) -> None:
        everyone = tuple(user for _, (user, _) in sorted(self.model.items()))
        assert self.run(self.users.page(after=None, limit=99, state=None)) == everyone


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
