"""What is known of the locked accounts, and that it stays in force whatever goes wrong."""

import logging
from typing import Any

import pytest

from lalepass_provider.errors import (
    CallerRejected,
    ContractBroken,
    NoAnswer,
    ScopeMissing,
    Unreachable,
)
from lalepass_provider.follower import Follower
from lalepass_provider.locks import Knowledge
from lalepass_wire.feed import Account, AccountState, Changes, LockedPage, SignOut
from tests.lalepass_provider.fakes_lifecycle import FakeBackground, FakeService


class Orders:
    def __init__(self) -> None:
        self.taken: list[SignOut] = []

    def take(self, orders: Any) -> bool:
        new = [order for order in orders if order not in self.taken]
        self.taken += new
        return bool(new)


class Following:
    """A follower with everything around it."""

    def __init__(self, service: FakeService | None = None, orders: Orders | None = None) -> None:
        self.service = service or FakeService()
        self.background = FakeBackground()
        self.knowledge = Knowledge()
        self.changes = 0
        self.follower = Follower(
            feed=self.service,
            knowledge=self.knowledge,
            background=self.background,
            changed=self._changed,
            orders=orders,
            monotonic=self.background.clock.seconds,
        )

    def _changed(self) -> None:
        self.changes += 1

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.background.do(self.follower.step())

    def locked(self, *names: str) -> list[str]:
        return [name for name in names if name in self.knowledge.locked]


def test_it_reads_who_is_locked_and_then_follows() -> None:
    it = Following()
    it.service.set("alice")
    it.service.disable("bob")

    it.step()
    assert it.locked("alice", "bob") == ["bob"]

    it.service.disable("alice")
    it.service.set("bob")
    it.step()

    assert it.locked("alice", "bob") == ["alice"]
    assert [what for what, _ in it.service.asked] == ["locked", "changes"]
    assert it.changes == 2


def test_who_is_deleted_is_locked_and_another_of_that_name_is_not() -> None:
    it = Following()
    it.step()

    it.service.set("bob", AccountState.DELETED)
    it.step()
    assert it.locked("bob") == ["bob"]

    it.service.set("bob")
    it.step()
    assert it.locked("bob") == []


def test_pages_are_read_one_after_the_other() -> None:
    it = Following(FakeService(page=2))
    for name in ("a", "b", "c", "d", "e"):
        it.service.disable(name)

    it.step(3)

    assert it.locked("a", "b", "c", "d", "e") == ["a", "b", "c", "d", "e"]
    assert it.service.asked == [("locked", None), ("locked", "b"), ("locked", "d")]


def test_what_changes_while_the_pages_are_read_is_not_missed() -> None:
    it = Following(FakeService(page=1))
    for name in ("a", "b"):
        it.service.disable(name)
    it.step()

    it.service.set("a")  # was on the page that is read already
    it.service.disable("aa")  # would have been on it
    it.step(3)

    assert it.locked("a", "aa", "b") == ["aa", "b"]


def test_at_the_first_start_each_page_counts_at_once() -> None:
    it = Following(FakeService(page=1))
    for name in ("a", "b"):
        it.service.disable(name)

    it.step()

    assert it.locked("a", "b") == ["a"]


def test_a_long_page_leaves_the_reactor_its_turns() -> None:
    it = Following()
    for number in range(2000):
        it.service.disable(f"n{number}")
    turns = []
    work = it.follower.step()
    it.background.start("test", lambda: work)
    while it.background.clock.getDelayedCalls():
        turns.append(len(it.knowledge.locked))
        it.background.turn()

    assert turns == [500, 1000, 1500, 2000]


def test_after_a_new_database_the_old_set_is_in_force_until_the_new_one_is_complete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = Following(FakeService(page=1))
    for name in ("a", "b"):
        it.service.disable(name)
    it.step(3)

    it.service.restore()
    it.service.set("a")
    it.service.disable("c")
    with caplog.at_level(logging.WARNING):
        it.step()  # 410
    assert "read anew" in caplog.text
    assert it.locked("a", "b", "c") == ["a", "b"]
    it.step()  # the first page
    assert it.locked("a", "b", "c") == ["a", "b"]
    it.step()  # the second

    assert it.locked("a", "b", "c") == ["b", "c"]
    it.service.disable("d")
    it.step()
    assert it.locked("d") == ["d"]


@pytest.mark.parametrize(
    "trouble",
    [
        Unreachable("refused"),
        CallerRejected("the service answered 401"),
        ContractBroken("HTML"),
        RuntimeError("a fault of ours"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
def test_in_trouble_what_is_known_stays_in_force(trouble: Exception) -> None:
    it = Following()
    it.service.disable("bob")
    it.step()

    it.service.trouble = trouble
    it.step(30)
    assert it.locked("bob", "carol") == ["bob"]
    # it asks less and less often, and not less than every few seconds
    assert it.background.pauses[0] <= 0.25
    assert all(2.5 <= pause <= 5.0 for pause in it.background.pauses[-20:])
    assert it.follower.age() > 60

    it.service.trouble = None
    it.service.disable("carol")
    it.step()
    assert it.locked("bob", "carol") == ["bob", "carol"]
    assert it.follower.age() < 1


def test_the_service_may_ask_for_a_longer_pause_and_not_for_an_endless_one() -> None:
    it = Following()
    it.service.trouble = NoAnswer("busy", retry_after=3600)
    it.step()

    assert 2.5 <= it.background.pauses[0] <= 5.0


def test_each_kind_of_trouble_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    it = Following()
    it.step()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        it.service.trouble = Unreachable("refused")
        it.step(5)
        it.service.trouble = ScopeMissing("the service answered 403 scope_missing")
        it.step(5)
        it.service.trouble = None
        it.step()

    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "ERROR", "INFO"]
    assert "scope `feed`" in caplog.text


def test_a_token_without_the_scope_locks_nobody_and_breaks_nothing() -> None:
    it = Following()
    it.service.disable("bob")
    it.service.trouble = ScopeMissing("403")

    it.step(3)

    assert it.locked("bob") == []


def test_reading_goes_on_where_it_failed() -> None:
    it = Following(FakeService(page=1))
    for name in ("a", "b", "c"):
        it.service.disable(name)
    it.step(2)
    it.service.trouble = Unreachable("refused")
    it.step()
    it.service.trouble = None

    it.step()

    assert [detail for what, detail in it.service.asked] == [None, "a", "b", "b"]
    assert it.locked("a", "b", "c") == ["a", "b", "c"]


def test_an_answer_that_comes_at_once_and_says_nothing_is_not_asked_for_again_at_once() -> None:
    it = Following()
    it.step(4)

    assert it.background.pauses == [1.0, 1.0, 1.0]


def test_a_feed_that_does_not_move_is_no_feed() -> None:
    it = Following()
    it.step()

    async def stuck(**_: Any) -> Changes:
        account = Account(id="1", localpart="bob", state=AccountState.ACTIVE)
        return Changes(cursor=it.service.cursor, accounts=(account,), more=True)

    it.service.changes = stuck  # type: ignore[method-assign]
    it.step(10)

    assert len(it.background.pauses) == 10


def test_pages_that_lead_nowhere_are_no_pages() -> None:
    it = Following()

    async def endless(*, after: str | None) -> LockedPage:
        assert after in {None, "a"}
        return LockedPage(cursor="db1-1", localparts=("a",), more=True)

    it.service.locked = endless  # type: ignore[method-assign]
    it.step(10)

    assert len(it.background.pauses) == 9


def test_orders_are_asked_for_by_the_one_who_carries_them_out() -> None:
    nobody, somebody = Following(), Following(orders=(orders := Orders()))
    for it in (nobody, somebody):
        it.service.order("o1", "bob", age=3)
        it.step(2)

    assert [order.id for order in orders.taken] == ["o1"]
    # nothing new in a repeated answer
    somebody.step()
    assert somebody.background.pauses == [1.0]
