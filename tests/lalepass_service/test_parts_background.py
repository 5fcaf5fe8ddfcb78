"""What goes on beside the requests goes on, whatever comes."""

import asyncio

import pytest

from lalepass_service.parts.background import in_background

pytestmark = pytest.mark.anyio


async def test_work_that_fails_is_told_without_its_words_and_begun_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, ended = 0, []
    goes_on = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise KeyError("a secret")
        goes_on.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(begun)
            raise

    async with in_background(work, again_seconds=0.0):
        async with asyncio.timeout(20):
            await goes_on.wait()
        assert not ended

    assert ended == [3]
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2
    assert "KeyError" in caplog.text
    assert "a secret" not in caplog.text


async def test_work_that_has_come_to_its_end_is_not_begun_again() -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1

    async with in_background(work, again_seconds=0.0):
        for _ in range(10):
            await asyncio.sleep(0)

    assert begun == 1


async def test_whoever_leaves_while_it_waits_to_be_begun_again_waits_for_nothing() -> None:
    failed = asyncio.Event()

    async def work() -> None:
        failed.set()
        raise RuntimeError

    async with asyncio.timeout(60):
        async with in_background(work, again_seconds=3600.0):
            await failed.wait()
            await asyncio.sleep(0)


async def test_work_that_fails_while_it_is_ended_is_told_and_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    goes_on = asyncio.Event()

    async def work() -> None:
        try:
            goes_on.set()
            await asyncio.Event().wait()
        finally:
            raise RuntimeError

    async with asyncio.timeout(60):
        async with in_background(work, again_seconds=3600.0):
            await goes_on.wait()

    assert "RuntimeError" in caplog.text
