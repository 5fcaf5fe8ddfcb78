"""Orders to sign out: each one carried out, none of them in another's way, acknowledged."""

import logging
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet import defer

from lalepass_provider import order_queue
from lalepass_provider.errors import Unreachable
from lalepass_provider.metrics import Metrics
from lalepass_provider.orders import SignOuts
from lalepass_provider.sessions import SessionsEnded
from lalepass_wire.feed import SignOut
from tests.lalepass_provider.fakes_lifecycle import FakeBackground, FakeService, HungDatabase

NOW = 1_000_000.0


class Sessions:
    """Remembers what it was told, and fails for some."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.failing: set[str] = set()
        self.hanging: set[str] = set()
        self.database = HungDatabase()
        """In which they hang."""
        self.waiting: set[str] = set()
        """Those wait for something that a cancellation ends."""
        self.unknown: set[str] = set()

    async def end_older(self, localpart: str, *, than_ms: int) -> Sequence[SessionsEnded]:
        self.told.append((localpart, than_ms))
        if localpart in self.hanging:
            await self.database.transaction()
        if localpart in self.waiting:
            await defer.Deferred()
        if localpart in self.failing:
            raise RuntimeError("the database is away")
        if localpart in self.unknown:
            return []
        return [SessionsEnded(mxid=f"@{localpart}:hs.example", ended=2, kept=1)]


class Ordering:
    def __init__(self, *, remembered: Sequence[str] = ()) -> None:
        self.service = FakeService()
        self.background = FakeBackground()
        self.sessions = Sessions()
        self.registry = CollectorRegistry()
        self.remembered: list[tuple[str, ...]] = []
        self.disk_takes = 0.0
        self.sign_outs = SignOuts(
            sessions=self.sessions,
            service=self.service,
            background=self.background,
            remembered=remembered,
            remember=self._remember,
            metrics=Metrics(self.registry),
            wall=lambda: NOW + self.background.clock.seconds(),
            monotonic=self.background.clock.seconds,
        )

    async def _remember(self) -> None:
        assert not any(o in batch for batch in self.service.acknowledged for o in self.done[-1:])
        if self.disk_takes:
            await self.background.pause(self.disk_takes)
        self.remembered.append(self.done)

    @property
    def done(self) -> tuple[str, ...]:
        return self.sign_outs.done

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.sessions.told]

    @property
    def carried_out(self) -> float | None:
        return self.registry.get_sample_value("lalepass_provider_sign_out_orders_total")

    def deliver(self) -> bool:
        return self.sign_outs.take(tuple(self.service.orders.values()))

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.5)):
            self.background.turn(0.5)
        assert self.background.failures == []


def test_an_order_ends_what_is_older_than_it_and_is_acknowledged() -> None:
    it = Ordering()
    it.service.order("o1", "bob", age=7.5)

    assert it.deliver() is True

    assert it.sessions.told == [("bob", int((NOW - 7.5) * 1000))]
    assert it.service.acknowledged == [("o1",)]
    assert it.remembered == [("o1",)]
    assert it.carried_out == 1


def test_many_are_acknowledged_together() -> None:
    it = Ordering()
    for number in range(250):
        it.service.order(f"o{number}", f"n{number}")
    it.deliver()
    it.run(3)

    assert [len(batch) for batch in it.service.acknowledged] == [100, 100, 50]
    assert len(it.names) == 250


def test_a_repeated_order_is_acknowledged_again_and_not_done_again() -> None:
    it = Ordering()
    it.service.order("o1", "bob")
    it.service.trouble = Unreachable("the acknowledgement is lost")
    it.deliver()
    it.run(5)
    assert it.service.orders

    it.service.trouble = None
    assert it.deliver() is False
    it.run(10)

    assert it.names == ["bob"]
    assert it.service.acknowledged == [("o1",)]


def test_the_age_is_that_of_the_first_delivery() -> None:
    """While an order waits for another try, a session that begins now stays newer than it."""
    it = Ordering()
    it.sessions.failing = {"bob"}
    it.service.order("o1", "bob", age=1)
    it.deliver()
    it.run(20)

    assert len({than_ms for _, than_ms in it.sessions.told}) == 1


def test_what_was_done_before_this_process_began_is_acknowledged_only() -> None:
    it = Ordering(remembered=["o1"])
    it.service.order("o1", "bob")

    it.deliver()

    assert it.names == []
    assert it.service.acknowledged == [("o1",)]


def test_one_that_fails_is_tried_again_and_holds_up_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = Ordering()
    it.sessions.failing = {"bad"}
    it.service.order("o1", "bad")
    it.service.order("o2", "bob")
    with caplog.at_level(logging.ERROR):
        it.deliver()
    assert "Order o1, to sign bad out everywhere, failed" in caplog.text
    assert it.service.acknowledged == [("o2",)]

    # another one comes while the first waits
    it.run(20)
    it.service.order("o3", "carol")
    it.deliver()
    it.run(1)
    assert it.service.acknowledged == [("o2",), ("o3",)]
    assert 3 <= it.names.count("bad") <= 8

    it.sessions.failing = set()
    it.run(61)
    assert "o1" in it.done
    assert it.service.orders == {}


def test_one_that_waits_for_ever_is_given_up_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = Ordering()
    it.sessions.waiting = {"stuck"}
    it.service.order("o1", "stuck")
    it.deliver()
    it.run(119)
    assert it.names == ["stuck"]

    it.sessions.waiting = set()
    with caplog.at_level(logging.ERROR):
        it.run(5)
    assert "Order o1, to sign stuck out everywhere, failed" in caplog.text
    assert it.done == ("o1",)
    assert it.names == ["stuck", "stuck"]


def test_one_that_hangs_in_the_database_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """To cancel it does not end it; that it has begun is not forgotten."""
    it = Ordering()
    it.sessions.hanging = {"stuck"}
    for order_id, name in (("o1", "ann"), ("o2", "stuck"), ("o3", "bob")):
        it.service.order(order_id, name)
    it.deliver()
    assert it.service.acknowledged == [("o1", "o3")]

    with caplog.at_level(logging.ERROR):
        it.run(3600)
    assert (
        "Order o2, to sign stuck out everywhere, hangs in the homeserver's database" in caplog.text
    )
    it.service.order("o4", "late")
    it.deliver()
    it.run(1)
    assert it.service.acknowledged == [("o1", "o3"), ("o4",)]
    assert it.names.count("stuck") == 1

    # The database answers. What was cancelled is not known to be done, so it is done again.
    it.sessions.hanging = set()
    it.sessions.database.let_go()
    it.run(61)
    assert it.names.count("stuck") == 2
    assert it.service.orders == {}
    assert it.carried_out == 4


def test_one_that_is_slow_is_done_once() -> None:
    it = Ordering()
    it.sessions.hanging = {"slow"}
    it.service.order("o1", "slow")
    it.deliver()
    it.run(100)

    it.sessions.database.let_go()
    it.run(1)

    assert it.names == ["slow"]
    assert it.service.acknowledged == [("o1",)]


def test_a_few_are_carried_out_at_a_time_and_some_that_hang_keep_nobody_waiting_for_long() -> None:
    it = Ordering()
    it.sessions.hanging = {"stuck"}
    it.sign_outs.take(some_orders(0, 3, localpart="stuck"))
    it.sign_outs.take(some_orders(3, 4, localpart="bob"))
    it.run(5)
    assert it.names == ["stuck"] * 3

    it.run(6)
    assert it.names == ["stuck"] * 3 + ["bob"]
    assert it.done == ("o3",)


def test_those_that_hang_do_not_take_all_threads_of_the_database(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = Ordering()
    it.sessions.hanging = {"stuck"}
    it.sign_outs.take(some_orders(0, 20, localpart="stuck"))
    it.sign_outs.take(some_orders(20, 21, localpart="bob"))
    with caplog.at_level(logging.ERROR):
        it.run(600)
    assert len(it.sessions.database) == len(it.names) == 6
    assert caplog.text.count("6 orders to sign out hang in the homeserver") == 1

    it.sessions.hanging = set()
    it.sessions.database.let_go()
    it.run(130)
    assert len(it.done) == 21


def test_what_is_done_is_noted_and_acknowledged_before_others_have_ended() -> None:
    """Else a process that ends meanwhile would do it again."""
    it = Ordering()
    it.sessions.hanging = {"slow"}
    it.service.order("o1", "slow")
    it.deliver()
    for number in range(2, 6):
        it.service.order(f"o{number}", f"n{number}")
        it.deliver()
        it.run(0.5)
        assert it.remembered[-1] == it.done
        assert f"o{number}" in it.done
        assert f"o{number}" not in it.service.orders


def test_a_name_that_is_not_here_is_acknowledged(caplog: pytest.LogCaptureFixture) -> None:
    it = Ordering()
    it.sessions.unknown = {"stranger"}
    it.service.order("o1", "stranger")

    with caplog.at_level(logging.INFO):
        it.deliver()

    assert it.service.acknowledged == [("o1",)]
    assert "nobody has this name here" in caplog.text


def test_no_more_are_taken_than_can_be_kept() -> None:
    it = Ordering()
    it.sessions.failing = {"bob"}
    given = some_orders(0, 1500, localpart="bob")

    assert it.sign_outs.take(given) is True
    assert len(it.names) <= 1000
    it.sessions.failing = set()
    it.run(100)
    assert it.sign_outs.take(given) is True
    it.run(10)

    assert it.carried_out == 1500


def some_orders(begin: int, end: int, *, localpart: str) -> list[SignOut]:
    return [
        SignOut(id=f"o{number}", account_id="1", localpart=localpart, age_seconds=0)
        for number in range(begin, end)
    ]


def test_those_that_fail_keep_no_later_one_out() -> None:
    """There is room for 1000, and the service repeats what is left out."""
    it = Ordering()
    it.sessions.failing = {"bad"}
    bad = some_orders(0, 1000, localpart="bad")
    it.sign_outs.take(bad)

    it.service.order("last", "bob")
    assert it.deliver() is True
    it.run(1)

    assert "bob" in it.names
    assert it.done == ("last",)
    # Those that had to make room are taken when they come again, and all are done in the end.
    it.sessions.failing = set()
    for _ in range(5):
        it.sign_outs.take(bad)
        it.run(61)
    assert it.carried_out == 1001


def test_who_made_room_waits_as_long_as_before() -> None:
    """Else orders that fail would push each other out, and each be tried at every turn."""
    it = Ordering()
    it.sessions.failing = {"bad"}
    for _ in range(12):
        for begin in range(0, 1500, 100):
            it.sign_outs.take(some_orders(begin, begin + 100, localpart="bad"))
            it.run(1)

    # Three minutes, in which the waits of each grow to one.
    assert 1500 <= len(it.names) <= 1500 * 9


def test_of_those_that_made_room_no_more_are_kept_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forgotten ones would be tried as if for the first time, each time that they come."""
    monkeypatch.setattr(order_queue, "_MAX_PENDING", 10)
    monkeypatch.setattr(order_queue, "_MAX_PUT_OFF", 20)
    it = Ordering()
    it.sessions.failing = {f"bad{number}" for number in range(100)}
    for second in range(300):
        number = second % 100
        it.sign_outs.take(some_orders(number, number + 1, localpart=f"bad{number}"))
        it.run(1)
    assert len(set(it.names)) <= 30
    assert len(it.names) <= 30 * 20

    # The service has other orders now: those that are never repeated are forgotten.
    it.run(700)
    it.service.order("new", "bob")
    it.deliver()
    it.run(1)
    assert "new" in it.done


def test_what_is_new_pushes_out_nothing_that_was_not_tried() -> None:
    it = Ordering()
    it.sign_outs.take(some_orders(0, 1500, localpart="bob"))
    it.run(1)

    assert it.carried_out == 1000


def test_while_it_is_written_down_others_are_carried_out() -> None:
    """As on a disk that hangs: it is waited for some seconds, and then acknowledged without it."""
    it = Ordering()
    it.disk_takes = 5.0
    for number in range(3):
        it.service.order(f"o{number}", f"n{number}")
        it.deliver()
        assert it.names[-1] == f"n{number}"
    it.run(4)
    assert it.service.acknowledged == []

    it.run(7)
    assert it.service.orders == {}


def test_what_is_remembered_has_a_bound() -> None:
    it = Ordering(remembered=[f"old{number}" for number in range(1000)])
    it.service.order("o1", "bob")
    it.deliver()

    assert len(it.done) == 1000
    assert it.done[-1] == "o1"
    assert "old0" not in it.done
