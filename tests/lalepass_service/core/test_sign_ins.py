"""What homeservers report, and what is taken of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from lalepass_service.adapters.memory import FixedClock, MemorySignIns, MemoryUsers, NoThrottle
from lalepass_service.core.errors import Throttled
from lalepass_service.core.sign_ins import KEEP_FOR, Report, Reporting
from tests.lalepass_service.accounts import NOW

pytestmark = pytest.mark.anyio

REPORT = Report(id="1", signed_in=True, localpart="alice", device_id="PHONE", at=NOW)


class Kept(MemorySignIns):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(MemoryUsers())
        self.given: list[tuple[list[Report], str, datetime]] = []

    async def add(self, reports: Sequence[Report], *, caller: str, now: datetime) -> None:
        self.given.append((list(reports), caller, now))


class World:
    def __init__(self) -> None:
        self.kept = Kept()
        self.throttle = NoThrottle()
        self.reporting = Reporting(
            sign_ins=self.kept, throttle=self.throttle, clock=FixedClock(NOW)
        )


async def test_a_batch_is_its_callers_and_counts_against_it() -> None:
    world = World()
    other = replace(REPORT, id="2", signed_in=False, at=NOW - timedelta(hours=1))

    await world.reporting.take([REPORT, other], caller="homeserver")

    assert world.kept.given == [([REPORT, other], "homeserver", NOW)]
    assert world.throttle.hits == [(None, "homeserver")]


async def test_who_reports_too_often_is_told_so_and_nothing_is_written() -> None:
    world = World()
    world.throttle.failure = Throttled(retry_after=1)

    with pytest.raises(Throttled):
        await world.reporting.take([REPORT], caller="homeserver")
    assert world.kept.given == []


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        (NOW + timedelta(seconds=1), NOW),
        (NOW, NOW),
        (NOW - KEEP_FOR + timedelta(seconds=1), NOW - KEEP_FOR + timedelta(seconds=1)),
        (NOW - KEEP_FOR, None),
        (NOW - KEEP_FOR - timedelta(seconds=1), None),
    ],
)
async def test_nothing_is_of_later_nor_of_what_would_be_forgotten(
    at: datetime, kept: datetime | None
) -> None:
    world = World()

    await world.reporting.take([replace(REPORT, at=at)], caller="homeserver")

    expected = [] if kept is None else [replace(REPORT, at=kept)]
    assert [given[0] for given in world.kept.given] == [expected]
