"""Work that goes on beside the requests."""

# ruff: noqa: PLC0415 - see the package

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

_log: Final = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 30.0
"""After a fault. Whatever it is, it should neither end the work for good nor fill the log."""


@asynccontextmanager
async def in_background(
    work: Callable[[], Coroutine[Any, Any, None]], *, again_seconds: float = _AGAIN_SECONDS
) -> AsyncIterator[None]:
    """Do it for as long as the context lasts, or until it has come to its end.

    Args:
        work: begins it. Begun again when it fails, each time with an ERROR in the log.
        again_seconds: how long after that.
    """
    task = asyncio.create_task(_again_and_again(work, again_seconds))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _again_and_again(
    work: Callable[[], Coroutine[Any, Any, None]], again_seconds: float
) -> None:
    task = asyncio.current_task()
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - nobody waits for it who could be told
            tell_fault("work in the background", error)
        else:
            return
        if task is not None and task.cancelling():
            # It has failed while it was ending.
            return
        await asyncio.sleep(again_seconds)


def tell_fault(what: str, error: Exception) -> None:
    """Log an exception that nobody foresaw, without its text: that may quote what is secret."""
    from lalepass_service.http.unforeseen import chain, where

    _log.error("a fault in %s: %s, by way of %s", what, chain(error), "; ".join(where(error)))
