"""What follows from what each host of an address says of itself."""

from dataclasses import replace
from functools import reduce

import pytest

from lalepass_service.adapters.sql.standing import (
    CLOSED,
    NOTHING,
    Answer,
    Rank,
    Seen,
    Standing,
    hear,
    judge,
)

SYSTEM = 7
STANDING = Standing(least=Rank(SYSTEM, 1), host=0, writing=1, up=True)
LONG = 10
"""Looks after which all is settled."""


def primary(timeline: int, *, server: str = "", system: int = SYSTEM, left: int = 0) -> Seen:
    name = server or f"{timeline} of {system}"
    return Seen(rank=Rank(system, timeline), writes=True, server=name, left=left)


def standby(timeline: int, *, system: int = SYSTEM) -> Seen:
    return Seen(rank=Rank(system, timeline), writes=False, server="standby")


ONE, OTHER = primary(2, server="one"), primary(2, server="other")


def looks(before: Standing, *each: tuple[Answer, ...]) -> Standing:
    return reduce(judge, each, before)


@pytest.mark.parametrize(
    ("answers", "least", "host"),
    [
        ((primary(1), standby(1)), 1, 0),
        ((standby(1), primary(1)), 1, 1),
        ((primary(1), None), 1, 0),
        ((primary(1), CLOSED), 1, 0),
        # an old one goes on
        ((primary(1), primary(2)), 2, 1),
        ((primary(2), primary(1)), 2, 0),
        ((primary(1), primary(3), primary(2)), 3, 1),
        # the newer one is away, and a standby knows of it
        ((primary(1), standby(2), None), 2, None),
        ((primary(1), standby(2), CLOSED), 2, None),
        # nobody is away: it was promoted, and is a standby again
        ((primary(1), standby(2)), 1, 0),
        # one server by two names
        ((primary(1, server="one"), primary(1, server="one")), 1, 0),
        # of another installation
        ((primary(1), standby(5, system=8)), 1, 0),
        ((primary(1), standby(5, system=8), None), 1, 0),
        # numbers of 32 bits
        ((primary(2**31 - 1), primary(1)), 2**31 - 1, 0),
    ],
)
def test_the_newest_is_believed(answers: tuple[Answer, ...], least: int, host: int | None) -> None:
    standing = judge(NOTHING, answers)

    assert standing.least == Rank(SYSTEM, least)
    assert standing.host == host
    assert standing.up is (host is not None)
    assert not standing.split
    assert not standing.doubted


@pytest.mark.parametrize(
    "answers",
    [
        (ONE, OTHER),
        (ONE, OTHER, primary(1)),
        (primary(1), primary(1, system=8)),
    ],
)
def test_it_is_said_that_two_can_not_be_told_apart(answers: tuple[Seen, ...]) -> None:
    doubt = judge(STANDING, answers)
    # One may just have been restarted.
    assert doubt.doubted
    assert not doubt.split
    standing = judge(doubt, answers)

    assert standing.split
    assert standing.writing == len(answers)
    # Nothing that was known is forgotten by it, and nobody is chosen.
    assert standing.host == STANDING.host
    assert standing.least is not None
    assert standing.least >= Rank(SYSTEM, 1)


@pytest.mark.parametrize("answers", [(ONE, None), (None, OTHER), (None, None)])
def test_a_split_is_not_over_while_one_of_them_is_silent(answers: tuple[Answer, ...]) -> None:
    split = looks(STANDING, (ONE, OTHER), (ONE, OTHER))
    for _ in range(LONG):
        split = judge(split, answers)
        assert split.split
        assert split.host == STANDING.host


def test_who_is_silent_in_turns_is_no_reason_to_go_from_one_to_the_other() -> None:
    standing = looks(STANDING, (ONE, OTHER), (ONE, OTHER), (ONE, None), (None, OTHER))
    assert standing.split
    assert standing.host == STANDING.host


def test_a_doubt_is_one_still_when_one_of_them_is_silent() -> None:
    assert looks(STANDING, (ONE, OTHER), (ONE, None)).split
    # They need not be seen at the same time.
    doubt = looks(STANDING, (ONE, None), (None, OTHER))
    assert doubt.doubted
    assert judge(doubt, (None, OTHER)).split


@pytest.mark.parametrize("other", [CLOSED, standby(2), standby(1), primary(1)])
def test_a_split_is_over_when_one_of_them_says_that_it_is_no_primary(other: Answer) -> None:
    standing = looks(STANDING, (ONE, OTHER), (ONE, OTHER), (ONE, None), (ONE, other))
    assert not standing.split
    assert not standing.doubted
    assert standing.host == 0
    assert standing.least == ONE.rank


def test_one_server_by_two_names_is_one_after_it_was_restarted() -> None:
    old, new = primary(1, server="before"), primary(1, server="after")
    assert judge(NOTHING, (old, new)).doubted
    assert not looks(NOTHING, (old, new), (new, new)).doubted
    assert not looks(NOTHING, (old, old), (None, None), (new, new)).doubted


def test_another_database_in_the_place_of_ours_is_believed_when_all_say_so() -> None:
    other = primary(1, system=8)
    alone = looks(STANDING, (other, None), (other, None))
    assert alone.split
    assert alone.other == 8
    assert alone.least == STANDING.least
    assert judge(alone, (other, standby(1, system=8))).least == other.rank
    assert judge(alone, (other, standby(1, system=8))).other is None
    assert judge(STANDING, (other,)).least == other.rank
    # Both of them are there: which is the right one is not for us to say.
    assert judge(STANDING, (other, primary(1))).other is None


def test_what_was_seen_once_holds_while_anybody_is_away() -> None:
    seen = judge(NOTHING, (primary(1), primary(2)))
    for away in (None, CLOSED):
        alone = seen
        for _ in range(LONG):
            alone = judge(alone, (primary(1), away))
            assert alone.least == Rank(SYSTEM, 2)
            assert alone.host == 1
            assert not alone.up
        assert judge(alone, (away, away)).least == Rank(SYSTEM, 2)


@pytest.mark.parametrize("now", [(primary(1), standby(1)), (primary(1), standby(2)), (primary(1),)])
def test_a_promotion_was_taken_back_when_all_say_so_again_and_again(now: tuple[Seen, ...]) -> None:
    seen = judge(NOTHING, (primary(1), primary(2))[-len(now) :])
    standing = judge(seen, now)
    # A name may lead to the older of two servers for a moment.
    assert standing.least == Rank(SYSTEM, 2)
    assert not standing.up
    back = looks(seen, *[now] * LONG)
    assert back.least == Rank(SYSTEM, 1)
    assert back.host == 0
    assert back.up
    assert looks(seen, now, now, (primary(2),) * len(now), now, now).least == Rank(SYSTEM, 2)


def test_a_standby_that_can_not_follow_is_named() -> None:
    assert judge(NOTHING, (primary(1), standby(2))).ahead == 1
    assert judge(NOTHING, (primary(1), standby(1))).ahead is None
    assert judge(NOTHING, (None, primary(1), standby(2))).ahead == 2


def test_nobody_who_writes_is_no_news() -> None:
    told = judge(STANDING, (None, standby(4)))
    assert told == replace(STANDING, writing=0, up=False, claims=(None, None))
    assert judge(NOTHING, (None,)) == replace(NOTHING, claims=(None,))


def test_what_was_left_is_that_of_the_one_that_is_believed() -> None:
    assert judge(NOTHING, (primary(1, left=9), primary(2, left=3))).left == 3


@pytest.mark.parametrize("answers", [(None, None), (None, standby(1)), (CLOSED, None)])
def test_what_was_left_is_known_until_somebody_says_something_else(
    answers: tuple[Answer, ...],
) -> None:
    silent = judge(replace(STANDING, left=9), answers)
    assert silent.left == 9
    assert judge(silent, (primary(1, left=2), standby(1))).left == 2
    assert judge(silent, (standby(1), primary(2))).left == 0


@pytest.mark.parametrize(
    ("answer", "least"),
    [
        (primary(2), 2),
        (primary(1), 1),
        # nobody is believed without the others but who is newer
        (standby(2), 1),
        (primary(2, system=8), 1),
    ],
)
def test_a_newer_primary_is_believed_before_the_others_answer(answer: Seen, least: int) -> None:
    heard = hear(STANDING, 1, answer)
    assert heard.least == Rank(SYSTEM, least)
    assert heard.host == (0 if least == 1 else 1)
    assert hear(NOTHING, 1, answer) == NOTHING
