"""Profiles that change while nobody logs in."""

from typing import Any

import pytest
from twisted.internet import defer

from lalepass_provider.errors import Unreachable
from lalepass_provider.locks import Knowledge
from lalepass_provider.pushing import ProfilePusher
from lalepass_wire.feed import Account, AccountState, Changes
from tests.lalepass_provider.fakes_lifecycle import FakeBackground, FakeService, HungDatabase


class Pushing:
    def __init__(self) -> None:
        self.service = FakeService()
        self.background = FakeBackground()
        self.knowledge = Knowledge()
        self.knowledge.cursor = self.service.cursor
        self.applied: list[tuple[str, str | None]] = []
        self.fault: Exception | None = None
        self.hanging: set[str] = set()
        self.database = HungDatabase()
        self.changes = 0
        self.pusher = ProfilePusher(
            feed=self.service,
            knowledge=self.knowledge,
            background=self.background,
            apply=self._apply,
            changed=self._changed,
        )

    async def _apply(self, account: Account) -> None:
        if self.fault is not None:
            raise self.fault
        if account.localpart in self.hanging:
            await self.database.transaction()
        self.applied.append((account.localpart, account.display_name))

    def _changed(self) -> None:
        self.changes += 1

    def step(self) -> None:
        self.background.do(self.pusher.step())


def test_who_has_changed_and_is_active_is_brought_in_step_once() -> None:
    it = Pushing()
    it.service.set("alice", display_name="Alice")
    it.service.disable("bob")
    it.service.set("alice", display_name="Alice A.")

    it.step()
    it.step()

    assert it.applied == [("alice", "Alice A.")]
    assert it.changes == 1
    assert it.knowledge.profiles == it.service.cursor


def test_of_who_is_deleted_nothing_is_left() -> None:
    it = Pushing()
    it.service.set("alice", AccountState.DELETED)

    it.step()

    assert it.applied == [("alice", None)]


def test_it_begins_where_the_locks_are_known_and_then_goes_its_own_way() -> None:
    it = Pushing()
    it.knowledge.cursor = None
    it.service.set("before")
    it.step()
    assert it.service.asked == []

    it.knowledge.cursor = it.service.cursor
    it.step()
    it.service.set("after")
    it.knowledge.cursor = it.service.cursor
    it.step()

    assert it.applied == [("after", None)]


def test_accounts_have_some_time_between_them() -> None:
    it = Pushing()
    for number in range(100):
        it.service.set(f"n{number}")
    begun = it.background.clock.seconds()
    it.step()

    assert it.background.clock.seconds() - begun >= 100 * 0.02


def test_while_the_service_is_away_it_waits_longer_and_longer() -> None:
    it = Pushing()
    it.service.trouble = Unreachable("refused")
    for _ in range(10):
        it.step()
    assert 9 <= it.background.pauses[-1] <= 15

    it.service.trouble = None
    it.service.set("alice")
    it.step()
    assert it.applied == [("alice", None)]


def test_a_fault_loses_nobody() -> None:
    it = Pushing()
    it.service.set("alice")
    it.fault = RuntimeError("a fault of ours")
    it.step()

    it.fault = None
    it.step()
    assert it.applied == [("alice", None)]


def test_with_a_new_database_it_begins_where_the_locks_are_known() -> None:
    it = Pushing()
    it.knowledge.profiles = "db0-3"
    it.step()
    it.service.set("alice")
    it.step()

    assert it.applied == [("alice", None)]


def test_a_feed_that_does_not_move_is_not_followed_all_the_time() -> None:
    it = Pushing()

    async def stuck(**_: Any) -> Changes:
        account = Account(id="1", localpart="bob", state=AccountState.ACTIVE)
        return Changes(cursor=it.service.cursor, accounts=(account,), more=True)

    it.service.changes = stuck  # type: ignore[method-assign]
    for _ in range(5):
        it.step()

    assert it.applied == []
    assert len(it.background.pauses) == 5


def test_one_that_hangs_in_the_database_holds_up_nobody_for_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """To cancel it does not end it."""
    it = Pushing()
    it.hanging = {"stuck"}
    it.service.set("stuck")
    it.service.set("alice")

    it.step()

    assert it.applied == [("alice", None)]
    assert it.background.clock.seconds() < 40
    assert "The profile of stuck hangs" in caplog.text
    it.database.let_go()


def test_when_several_hang_no_other_is_begun_before_one_has_ended() -> None:
    it = Pushing()
    it.hanging = {f"stuck{number}" for number in range(5)}
    for name in sorted(it.hanging):
        it.service.set(name)
    it.service.set("alice")
    step = defer.ensureDeferred(it.pusher.step())
    for _ in range(600):
        it.background.turn(1)
    assert len(it.database) == 2

    # So long a round is cancelled, and ends by that: what it waits for is a clock.
    ended: list[object] = []
    step.addBoth(ended.append)
    step.cancel()
    it.background.turn(1)
    assert ended == [None]
    it.hanging = set()
    it.database.let_go()
    it.step()
    assert ("alice", None) in it.applied
