"""SqlUsers against a dictionary, in whatever order Hypothesis thinks of."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.tables import sign_outs
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import AlreadyTaken, Conflict, NameRetired
from lalepass_service.core.identifiers import ByEmail, ByLocalpart
from lalepass_service.core.model import PasswordRecord, User, UserId, UserState
from tests.lalepass_service.accounts import ACT, NOW, standing

T = TypeVar("T")

# Few of each, so that they meet often.
names = st.sampled_from(["a", "b", "a%", "_"])
addresses = st.lists(st.sampled_from(["x@x", "y@x", "%@x"]), unique=True, max_size=2).map(tuple)


class Accounts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.model: dict[str, tuple[User, PasswordRecord | None]] = {}
        self.retired: set[str] = set()
        self.made = 0
        self.orders: dict[UserId, datetime] = {}
        """When each account was last told to end its sessions."""

    def make(self) -> Callable[[], Database]:
        """Make a database, and return what opens it."""
        path = Path(self.folder.name) / "lalepass.db"
        upgrade(path)
        return partial(Database.open, path)

    @initialize()
    def begin(self) -> None:
        self.opener = self.make()
        self.open()

    def open(self) -> None:
        self.database = self.opener()
        self.users = SqlUsers(self.database)

    @rule()
    def open_again(self) -> None:
        self.run(self.database.close())
        self.open()

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

    @rule(localpart=names, emails=addresses, password=st.booleans(), reuse=st.booleans())
    def add(
        self,
        localpart: str,
        emails: tuple[str, ...],
        password: bool,  # noqa: FBT001 - Hypothesis passes it by name
        reuse: bool,  # noqa: FBT001 - see above
    ) -> None:
        self.made += 1
        record = PasswordRecord(f"$first-{self.made}$") if password else None
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

    @rule(localpart=names, days=st.integers(0, 9))
    def set_password(self, localpart: str, days: int) -> None:
        self.made += 1
        record = PasswordRecord(f"$set-{self.made}$")
        moment = NOW + timedelta(days=days)
        done = self.run(
            self.users.set_password(self.id_of(localpart), record, changed_at=moment, act=ACT)
        )
        assert done == (localpart in self.model)
        if done:
            user, _ = self.model[localpart]
            before = user.password_changed_at
            # Each is later than the last, whatever the clock says.
            later = moment if before is None else max(moment, before + timedelta(microseconds=1))
            self.model[localpart] = (replace(user, password_changed_at=later), record)

    @rule(
        which=st.integers(0, 3), meanwhile=st.sampled_from(["", "set", "renew", "delete", "open"])
    )
    def renew_a_record(self, which: int, meanwhile: str) -> None:
        """As a check does, with what it has read before. What was changed meanwhile stays."""
        having = sorted(name for name, (_, record) in self.model.items() if record)
        if not having:
            return
        localpart = having[which % len(having)]
        found = self.run(self.users.credentials(ByLocalpart(localpart)))
        assert found is not None
        assert found.record is not None
        match meanwhile:
            case "set":
                self.set_password(localpart, days=which)
            case "renew":
                self.renew_a_record(having.index(localpart), "")
            case "delete":
                self.delete(localpart)
            case "open":
                self.open_again()
        self.made += 1
        new = PasswordRecord(f"$renewed-{self.made}$")
        done = self.run(self.users.replace_record(found.user.id, old=found.record, new=new))
        assert done == (meanwhile in {"", "open"})
        if done:
            self.model[localpart] = (self.model[localpart][0], new)
        self.credentials(localpart)

    @rule(
        localpart=names,
        name=st.sampled_from([None, "A", "B"]),
        emails=addresses,
        admin=st.booleans(),
    )
    def edit(
        self,
        localpart: str,
        name: str | None,
        emails: tuple[str, ...],
        admin: bool,  # noqa: FBT001 - Hypothesis passes it by name
    ) -> None:
        def change(user: User) -> User:
            assert user == self.model[localpart][0]
            return replace(user, display_name=name, emails=emails, admin=admin)

        editing = self.users.edit(self.id_of(localpart), change, act=ACT)
        if localpart not in self.model:
            assert self.run(editing) is None
            return
        user, record = self.model[localpart]
        others = [each for owner, (each, _) in self.model.items() if owner != localpart]
        if {email for each in others for email in each.emails} & set(emails):
            with pytest.raises(AlreadyTaken):
                self.run(editing)
            return
        after = replace(user, display_name=name, emails=emails, admin=admin)
        assert self.run(editing) == (after != user)
        self.model[localpart] = (after, record)

    @rule(localpart=names, days=st.integers(0, 9))
    def sign_out(self, localpart: str, days: int) -> None:
        user_id, at = self.id_of(localpart), NOW + timedelta(days=days)
        done = self.run(self.users.sign_out(user_id, now=standing(at), act=ACT))
        assert done == (localpart in self.model)
        if done:
            self.orders[user_id] = at

    @rule(localpart=names, state=st.sampled_from(UserState))
    def set_state(self, localpart: str, state: UserState) -> None:
        done = self.run(self.users.set_state(self.id_of(localpart), state, act=ACT))
        assert done == (localpart in self.model)
        if done:
            user, record = self.model[localpart]
            self.model[localpart] = (replace(user, state=state), record)

    @rule(localpart=names)
    def delete(self, localpart: str) -> None:
        user_id = self.id_of(localpart)
        done = self.run(self.users.delete(user_id, now=standing(NOW), act=ACT))
        assert done == (localpart in self.model)
        if done:
            self.orders[user_id] = NOW
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

    @invariant()
    def nobody_has_two_orders_to_sign_out(self) -> None:
        assert self.run(self.ordered()) == sorted(self.orders.items())

    async def ordered(self) -> list[tuple[str, datetime]]:
        query = select(sign_outs.c.user_id, sign_outs.c.ordered_at)
        async with self.database.read() as connection:
            return sorted((owner, at) for owner, at in await connection.execute(query))


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
