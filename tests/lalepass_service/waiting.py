"""How tests wait: on a fact, with a deadline that only a broken program meets."""

import asyncio
from collections.abc import Callable


async def until(fact: Callable[[], bool], *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not fact():  # noqa: ASYNC110 - the fact is in another thread or process
            await asyncio.sleep(0.001)
