"""What connections are held against, once the hosts have been looked at."""

import math
import time
from dataclasses import replace

import pytest

from lalepass_service.adapters.sql.primaries import Primaries, WrongPrimary
from lalepass_service.adapters.sql.standing import Rank, Standing

SYSTEM = 7
STANDING = Standing(least=Rank(SYSTEM, 1), host=0, writing=1, up=True)


def test_an_older_one_is_not_believed() -> None:
    primaries = Primaries()
    assert primaries.believes(Rank(SYSTEM, 1))
    primaries.standing = replace(STANDING, least=Rank(SYSTEM, 2))

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
    primaries.standing = replace(STANDING, doubted=True)
    with pytest.raises(WrongPrimary, match="two servers"):
        primaries.may_write(changes=True)
    assert primaries.refused == 2


def test_who_was_restored_into_a_new_cluster_is_told_to_restart() -> None:
    primaries = Primaries()
    primaries.standing = replace(STANDING, split=True, other=8)
    said = r"\(system 8\).*\(7\).*restart"
    with pytest.raises(WrongPrimary, match=said):
        primaries.may_write(changes=True)
    with pytest.raises(WrongPrimary, match=said):
        primaries.require(Rank(8, 1))


def test_how_long_ago_the_last_look_was() -> None:
    primaries = Primaries()
    assert math.isnan(primaries.age)
    primaries.looked = time.monotonic() - 100
    assert primaries.age >= 100


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
