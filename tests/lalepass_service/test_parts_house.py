"""What is done once a day: what fails is told, and holds up nothing else."""

import asyncio
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.parts.house import keep_house

pytestmark = pytest.mark.anyio


class Always:
    """It is everybody's turn."""

    async def take(self, name: str, *, now: datetime, every: timedelta) -> bool:
        del name, now, every
        return True


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
