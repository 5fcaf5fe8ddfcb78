"""Keys and records in whatever order Hypothesis thinks of: all stay readable, by one path."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from lalepass_service.adapters.keys import KeyDirectory, KeyVault, NullVault, key_of
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.rewrap import Progress, Rewrap, retire
from lalepass_service.adapters.sql.tables import passwords
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import Conflict, UnreadableRecord
from lalepass_service.core.model import PasswordRecord, UserId
from tests.lalepass_service.accounts import ACT, NOW, a_user

T = TypeVar("T")
PEOPLE = ["a", "b", "c", "d", "e"]
people = st.sampled_from(PEOPLE)


class Interrupted(Exception):
    """Somebody presses Ctrl-C."""


class Keys(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.ids: list[str] = []
        self.active = ""
        self.records: dict[str, str] = {}
        self.wrapped: dict[str, str | None] = {}
        self.changes = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def make(self) -> Database:
        path = Path(self.folder.name) / "lalepass.db"
        upgrade(path)
        return Database.open(path)

    @initialize()
    def open(self) -> None:
        self.database = self.make()
        self.directory = KeyDirectory(Path(self.folder.name) / "keys")
        self.active = self.directory.add()
        self.ids = [self.active]
        # One service that runs all the time, and has to follow.
        self.vault = KeyVault(self.directory)
        before = SqlUsers(self.database, NullVault())
        for name in PEOPLE:
            self.records[name] = f"${name}$"
            self.wrapped[name] = None
            record = PasswordRecord(f"${name}$")
            self.run(before.add(a_user(name), record, reuse_name=False, act=ACT))

    def teardown(self) -> None:
        if self.ids:
            self.run(self.database.close())
        self.runner.close()
        self.folder.cleanup()

    @rule()
    def add(self) -> None:
        self.ids.append(self.directory.add())

    @rule(choice=st.integers(0, 99))
    def promote(self, choice: int) -> None:
        self.active = self.ids[choice % len(self.ids)]
        self.directory.promote(self.active)

    @rule(choice=st.integers(0, 99))
    def retire(self, choice: int) -> None:
        key_id = self.ids[choice % len(self.ids)]
        retiring = retire(self.database, self.directory, key_id, act=ACT)
        if key_id == self.active or key_id in self.wrapped.values():
            with pytest.raises(Conflict):
                self.run(retiring)
        else:
            self.run(retiring)
            self.ids.remove(key_id)

    @rule(name=people)
    def set_password(self, name: str) -> None:
        self.changes += 1
        record = PasswordRecord(f"${name}-{self.changes}$")
        users = SqlUsers(self.database, self.vault)
        assert self.run(users.set_password(a_user(name).id, record, changed_at=NOW, act=ACT))
        self.records[name], self.wrapped[name] = record.phc, self.active

    @rule(stop_after=st.none() | st.integers(1, 5), batch=st.integers(1, 3))
    def rewrap(self, stop_after: int | None, batch: int) -> None:
        def report(progress: Progress) -> None:
            if stop_after is not None and progress.seen >= stop_after:
                raise Interrupted

        pending = [name for name in PEOPLE if self.wrapped[name] != self.active]
        work = Rewrap(
            database=self.database, vault=KeyVault(self.directory), act=ACT, batch=batch, pause=0
        )
        assert self.run(work.pending()) == len(pending)
        try:
            assert self.run(work.run(report)).moved == len(pending)
            done = len(pending)
        except Interrupted:
            # The first number of whole batches that reaches it.
            assert stop_after is not None
            done = -(-stop_after // batch) * batch
        for name in pending[:done]:
            self.wrapped[name] = self.active

    @invariant()
    def every_record_is_readable_by_one_path(self) -> None:
        async def rows() -> dict[UserId, tuple[str, str | None]]:
            async with self.database.read() as connection:
                found = await connection.execute(select(passwords))
                return {row.user_id: (row.phc, row.key_id) for row in found}

        if not self.ids:
            return
        after_a_restart = KeyVault(self.directory)
        stored = self.run(rows())
        for name in PEOPLE:
            user_id = a_user(name).id
            phc, key_id = stored[user_id]
            assert key_of(phc) == key_id == self.wrapped[name]
            for vault in (self.vault, after_a_restart):
                assert vault.open(phc, user_id=user_id) == self.records[name]
            if key_id is not None:
                with pytest.raises(UnreadableRecord):
                    NullVault().open(phc, user_id=user_id)
                with pytest.raises(UnreadableRecord):
                    self.vault.open(phc, user_id=UserId("id-somebody-else"))

    @invariant()
    def the_keys_are_those_that_were_made(self) -> None:
        if self.ids:
            ring = self.directory.load()
            assert (ring.ids, ring.active) == (frozenset(self.ids), self.active)


TestKeys = Keys.TestCase
TestKeys.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
