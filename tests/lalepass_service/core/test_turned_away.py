"""Checks that were turned away: a few in the trail as they are, all of them in its counts."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.core.audit import Entry, Event
from lalepass_service.core.model import UserId
from lalepass_service.core.turned_away import TurnedAway
from tests.lalepass_service.accounts import CHECKED, NOW

ENTRY = replace(CHECKED, outcome="throttled")


START = 1000.0
"""What the clock shows that counts the minutes. It has no beginning that means anything."""


class World:
    def __init__(self) -> None:
        self.seconds = START
        self.turned_away = TurnedAway(seconds=lambda: self.seconds)
        self.whole: list[Entry] = []

    def turn_away(self, entry: Entry = ENTRY) -> None:
        entry = replace(entry, at=NOW + timedelta(seconds=self.seconds - START))
        if self.turned_away.take(entry):
            self.whole.append(entry)

    def later(self, seconds: float) -> list[Entry]:
        self.seconds += seconds
        return self.turned_away.due()


def counted(entries: list[Entry]) -> int:
    return sum(int(entry.details["count"]) for entry in entries)


def of(name: str, *, actor: str = "synapse") -> Entry:
    return replace(ENTRY, user_id=UserId(f"id-{name}"), localpart=name, actor=actor)


@pytest.mark.parametrize(
    "entry",
    [
        replace(ENTRY, outcome="accepted"),
        replace(ENTRY, outcome="refused_credentials"),
        replace(ENTRY, event=Event.USER_ADDED),
        replace(ENTRY, event=Event.USER_ADDED, outcome="no_answer_Overloaded"),
    ],
)
def test_everything_else_is_written(entry: Entry) -> None:
    world = World()
    for _ in range(1000):
        world.turn_away(entry)

    assert len(world.whole) == 1000
    assert world.later(3600) == world.turned_away.rest() == []


def test_three_in_a_minute_are_written_and_the_others_are_one_entry() -> None:
    world = World()
    for _ in range(10):
        world.turn_away()
        world.seconds += 1

    assert [entry.request_id for entry in world.whole] == ["POST-1"] * 3
    assert world.later(40) == []
    assert world.later(10) == [
        replace(
            ENTRY,
            at=NOW + timedelta(seconds=9),
            user_agent=None,
            request_id=None,
            details={"count": 7, "since": "2026-01-02T03:04:08.678+00:00"},
        )
    ]
    assert world.later(3600) == []


@pytest.mark.parametrize("outcome", ["no_answer_Overloaded", "no_answer_StoreUnavailable"])
def test_so_are_those_for_whom_there_was_no_room_or_no_database(outcome: str) -> None:
    """A full queue costs nothing to run into, for who has no password either."""
    world = World()
    for _ in range(1000):
        world.turn_away(replace(ENTRY, outcome=outcome, details={"heard": False}))

    assert [(each.outcome, each.request_id) for each in world.whole] == [(outcome, "POST-1")] * 3
    (entry,) = world.later(60)
    assert (entry.outcome, entry.localpart, entry.details["count"]) == (outcome, "alice", 997)


def test_each_outcome_of_an_account_is_counted_by_itself() -> None:
    outcomes = ["throttled", "no_answer_Overloaded", "no_answer_StoreUnavailable"]
    world = World()
    for _ in range(5):
        for outcome in outcomes:
            world.turn_away(replace(ENTRY, outcome=outcome))

    assert len(world.whole) == 9
    assert [(each.outcome, each.details["count"]) for each in world.later(60)] == [
        (outcome, 2) for outcome in outcomes
    ]


def test_an_overflow_hides_nobody_who_is_guessed_at() -> None:
    world = World()
    for number in range(5000):
        world.turn_away(replace(of(str(number)), outcome="no_answer_Overloaded"))
    for _ in range(10):
        world.turn_away()

    throttled = [entry for entry in world.whole if entry.outcome == "throttled"]
    assert [entry.localpart for entry in throttled] == ["alice"] * 3
    assert [
        (each.localpart, each.details["count"])
        for each in world.later(60)
        if each.outcome == "throttled"
    ] == [("alice", 7)]


def test_who_is_turned_away_now_and_then_has_all_entries() -> None:
    world = World()
    for _ in range(50):
        world.turn_away()
        assert world.later(30) == []

    assert len(world.whole) == 50


def test_each_account_and_caller_is_counted_by_itself_and_each_minute() -> None:
    world = World()
    for entry in (of("alice"), of("bob"), of("alice", actor="other")):
        for _ in range(5):
            world.turn_away(entry)
    assert len(world.whole) == 9
    assert [(each.localpart, each.actor, each.details["count"]) for each in world.later(60)] == [
        ("alice", "synapse", 2),
        ("bob", "synapse", 2),
        ("alice", "other", 2),
    ]

    for _ in range(5):
        world.turn_away()
    assert len(world.whole) == 12
    assert counted(world.later(60)) == 2


def test_names_that_nobody_has_are_counted_together_and_not_named() -> None:
    world = World()
    for _ in range(10):
        world.turn_away(replace(ENTRY, user_id=None, localpart=None))

    (entry,) = world.later(60)
    assert (entry.user_id, entry.localpart, entry.details["count"]) == (None, None, 7)


def test_a_source_is_told_if_it_is_the_only_one() -> None:
    for last, told in (("192.0.2.1", "192.0.2.1"), ("192.0.2.2", None), (None, None)):
        world = World()
        for address in ["192.0.2.1"] * 6 + [last]:
            world.turn_away(replace(ENTRY, source_ip=address))
        assert [entry.source_ip for entry in world.later(60)] == [told]


def test_many_accounts_have_no_more_entries_than_there_is_room_for() -> None:
    world = World()
    total, entries = 0, 0
    for _ in range(5):
        for number in range(5000):
            for _ in range(2):
                world.turn_away(of(str(number)))
                total += 1
    assert len(world.whole) == 600
    summed = world.later(60)
    entries += len(summed)
    assert counted(summed) + len(world.whole) == total
    assert entries <= 1001
    assert any(entry.localpart is None for entry in summed)
    # And there is as much room again.
    for number in range(5000):
        world.turn_away(of(str(number)))
    assert len(world.whole) == 1200


def test_those_who_are_counted_together_are_never_written_as_they_are() -> None:
    world = World()
    world.seconds += 59
    for number in range(1000):
        world.turn_away(of(str(number)))
    world.seconds += 2
    for number in range(1000, 1010):
        world.turn_away(of(str(number)))

    assert len(world.whole) == 600
    together = [entry for entry in world.later(60) if entry.localpart is None]
    assert [(each.user_id, each.details["count"]) for each in together] == [(None, 10)]


def test_what_is_left_is_told_at_the_end() -> None:
    world = World()
    for _ in range(10):
        world.turn_away()

    assert counted(world.turned_away.rest()) == 7
    assert world.turned_away.rest() == world.later(3600) == []


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from("ab"),
                st.sampled_from(["synapse", "other"]),
                st.sampled_from(["throttled", "no_answer_Overloaded"]),
            ),
            st.floats(min_value=0, max_value=100),
        ),
        max_size=200,
    )
)
def test_no_count_is_lost(steps: list[tuple[str, str, str] | float]) -> None:
    world, told = World(), list[Entry]()
    for step in steps:
        if isinstance(step, float):
            told += world.later(step)
        else:
            world.turn_away(replace(of(step[0], actor=step[1]), outcome=step[2]))
    told += world.turned_away.rest()

    for step in product("ab", ("synapse", "other"), ("throttled", "no_answer_Overloaded")):
        whole = [e for e in world.whole if (e.localpart, e.actor, e.outcome) == step]
        summed = [e for e in told if (e.localpart, e.actor, e.outcome) == step]
        assert len(whole) + counted(summed) == steps.count(step)
        assert all(str(entry.details["since"]) <= entry.at.isoformat() for entry in summed)
