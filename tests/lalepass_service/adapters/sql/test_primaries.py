"""What follows from what each host of an address says of itself."""

from dataclasses import replace

import pytest

from lalepass_service.adapters.sql.primaries import (
    NOTHING,
    Primaries,
    Rank,
    Seen,
    Standing,
    WrongPrimary,
    judge,
)

SYSTEM = 7
STANDING = Standing(least=Rank(SYSTEM, 1), host=0, writing=1)


def primary(timeline: int, *, server: str = "", system: int = SYSTEM, left: int = 0) -> Seen:
    name = server or f"{timeline} of {system}"
    return Seen(rank=Rank(system, timeline), writes=True, server=name, left=left)


def standby(timeline: int, *, system: int = SYSTEM) -> Seen:
    return Seen(rank=Rank(system, timeline), writes=False, server="standby")


@pytest.mark.parametrize(
    ("answers", "least", "host"),
    [
        ((primary(1), standby(1)), 1, 0),
        ((standby(1), primary(1)), 1, 1),
        ((primary(1), None), 1, 0),
        # an old one goes on
        ((primary(1), primary(2)), 2, 1),
        ((primary(2), primary(1)), 2, 0),
        ((primary(1), primary(3), primary(2)), 3, 1),
        # the newer one is away, and a standby knows of it
        ((primary(1), standby(2), None), 2, None),
        # one server by two names
        ((primary(1, server="one"), primary(1, server="one")), 1, 0),
        # of another installation
        ((primary(1), standby(5, system=8)), 1, 0),
        # numbers of 32 bits
        ((primary(2**31 - 1), primary(1)), 2**31 - 1, 0),
    ],
)
def test_the_newest_is_believed(
    answers: tuple[Seen | None, ...], least: int, host: int | None
) -> None:
    standing = judge(NOTHING, answers)

    assert standing.least == Rank(SYSTEM, least)
    assert standing.host == host
    assert not standing.split


@pytest.mark.parametrize(
    "answers",
    [
        (primary(2, server="one"), primary(2, server="other")),
        (primary(2, server="one"), primary(2, server="other"), primary(1)),
        (primary(1), primary(1, system=8)),
    ],
)
def test_it_is_said_that_two_can_not_be_told_apart(answers: tuple[Seen, ...]) -> None:
    standing = judge(STANDING, answers)

    assert standing.split
    assert standing.writing == len(answers)
    # Nothing that was known is forgotten by it, and nobody is chosen.
    assert standing.host == STANDING.host
    assert standing.least is not None
    assert standing.least >= Rank(SYSTEM, 1)


def test_another_database_in_the_place_of_ours_is_believed_when_all_say_so() -> None:
    other = primary(1, system=8)
    assert judge(STANDING, (other, None)).split
    assert judge(STANDING, (other, None)).least == STANDING.least
    assert judge(STANDING, (other, standby(1, system=8))).least == other.rank
    assert judge(STANDING, (other,)).least == other.rank


def test_what_was_seen_once_holds_while_anybody_is_silent() -> None:
    seen = judge(NOTHING, (primary(1), primary(2)))
    alone = judge(seen, (primary(1), None))

    assert alone.least == Rank(SYSTEM, 2)
    assert alone.host == 1
    assert judge(alone, (None, None)).least == Rank(SYSTEM, 2)
    # The promotion was taken back: all of them say so.
    back = judge(alone, (primary(1), standby(1)))
    assert back.least == Rank(SYSTEM, 1)
    assert back.host == 0


def test_nobody_who_writes_is_no_news() -> None:
    told = judge(STANDING, (None, standby(4)))
    assert told == replace(STANDING, writing=0)
    assert judge(NOTHING, (None,)) == NOTHING


def test_what_was_left_is_that_of_the_one_that_is_believed() -> None:
    assert judge(NOTHING, (primary(1, left=9), primary(2, left=3))).left == 3
    assert judge(replace(STANDING, left=9), (None, None)).left == 0


def test_an_older_one_is_not_believed() -> None:
    primaries = Primaries()
    assert primaries.believes(Rank(SYSTEM, 1))
    primaries.standing = judge(NOTHING, (primary(1), primary(2)))

    assert primaries.believes(Rank(SYSTEM, 2))
    # Promoted since the last look.
    assert primaries.believes(Rank(SYSTEM, 3))
    # Nobody has asked for it.
    assert primaries.believes(None)
    for old in (Rank(SYSTEM, 1), Rank(SYSTEM, 0), Rank(8, 2), Rank(8, 9)):
        assert not primaries.believes(old)
        with pytest.raises(WrongPrimary):
            primaries.require(old)
    assert primaries.dropped == 4


def test_where_it_can_not_be_told_nothing_is_changed() -> None:
    primaries = Primaries()
    primaries.may_write(changes=True)
    primaries.standing = replace(STANDING, split=True)

    # What checks count does no harm.
    primaries.may_write(changes=False)
    with pytest.raises(WrongPrimary, match="two servers"):
        primaries.may_write(changes=True)
    assert primaries.refused == 1


def test_no_more_is_left_behind_than_there_is_room_for() -> None:
    primaries = Primaries()
    primaries.standing = replace(STANDING, left=4)
    primaries.may_write(changes=True)
    primaries.limit(4)

    for changes in (True, False):
        with pytest.raises(WrongPrimary, match="wait for a standby"):
            primaries.may_write(changes=changes)
    primaries.standing = replace(STANDING, left=3)
    primaries.may_write(changes=True)
