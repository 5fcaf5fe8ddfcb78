"""What is done once a day: what fails is told, and holds up nothing else."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from lalepass_service.adapters.clock import SystemClock
from lalepass_service.adapters.sql.turns import SqlTurns, Turn
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.parts import house as parts_house
from lalepass_service.parts.house import keep_house
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.databases import fresh, opened
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio


class Always:
    """It is everybody's turn."""

    async def take(self, name: str, *, now: datetime, every: timedelta) -> Turn:
        del name
        return Turn(now - every)


async def test_a_chore_that_fails_is_told_and_the_next_one_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = asyncio.Event()

    async def fail(_: datetime) -> None:
        raise StoreUnavailable

    async def succeed(_: datetime) -> None:
        done.set()

    turns = cast("Any", Always())
    house = asyncio.create_task(keep_house(turns, {"trail": fail, "locks": succeed}))
    async with asyncio.timeout(20):
        await done.wait()
    house.cancel()

    assert caplog.text.count("(trail)") == 1
    assert "(locks)" not in caplog.text


async def test_a_chore_with_a_fault_is_told_without_its_words_and_the_next_one_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = asyncio.Event()

    async def fail(_: datetime) -> None:
        raise RuntimeError("a secret")

    async def succeed(_: datetime) -> None:
        done.set()

    turns = cast("Any", Always())
    house = asyncio.create_task(keep_house(turns, {"trail": fail, "locks": succeed}))
    async with asyncio.timeout(20):
        await done.wait()
    house.cancel()
    with pytest.raises(asyncio.CancelledError):
        await house

    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "(trail): RuntimeError" in record.getMessage()
    assert " fail" in record.getMessage()
    assert "a secret" not in caplog.text


_YEARS = 3650.0
_MOMENT = 0.001


@pytest.mark.parametrize(
    ("days", "deletes", "warnings"),
    [
        # A new database, then day after day.
        ([0, 1, 2], [1, 2], 0),
        # At a start long ahead, and back before the day is over.
        ([0, 1, _YEARS, 1 + _MOMENT, 2 + _MOMENT], [1, 2 + _MOMENT], 2),
        # So is one that is long behind.
        ([0, 1, -_YEARS, 1 + _MOMENT, 2 + _MOMENT], [1, 2 + _MOMENT], 2),
        # A week without the service is nothing, and after more the next day does it.
        ([0, 7], [7], 0),
        ([0, 8, 9], [9], 1),
        # One replica whose clock is wrong, and one whose clock is right.
        ([0, _YEARS, 1, _YEARS, 1.1, _YEARS + 0.2, 1.2], [], 6),
        # The very first start has the wrong clock.
        ([_YEARS, 0, 1], [1], 1),
    ],
)
async def test_nothing_is_forgotten_by_a_clock_that_was_not_there_yesterday(
    days: list[float],
    deletes: list[float],
    warnings: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = [NOW + timedelta(days=each) for each in days]
    times = iter(left)
    done: list[datetime] = []
    over = asyncio.Event()

    def tick(_: SystemClock) -> datetime:
        now = next(times, None)
        if now is None:
            over.set()
            return left[-1]
        return now

    async def chore(now: datetime) -> None:
        done.append(now)

    monkeypatch.setattr(SystemClock, "now", tick)
    monkeypatch.setattr(parts_house, "_LOOK_SECONDS", 0)
    async with opened(fresh("sqlite", request, tmp_path)) as at:
        task = asyncio.create_task(keep_house(SqlTurns(at.hot), {"trail": chore}))
        await until(over.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert done == [NOW + timedelta(days=each) for each in deletes]
    said = [each for each in caplog.records if each.name == parts_house.__name__]
    assert [each.levelname for each in said] == ["WARNING"] * warnings
    assert all("(trail)" in each.getMessage() for each in said)
