"""Whether the process lives, and whether it can do its work."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter

from lalepass_service.http import openapi
from lalepass_wire import ErrorCode, paths


def router(*, check: Callable[[], Awaitable[None]]) -> APIRouter:
    """Return the two routes.

    Args:
        check: finds out whether it can, within a time limit; raises NoAnswer.
    """
    routes = APIRouter(tags=["health"])

    @routes.get(paths.HEALTH_LIVE, summary="Does the process live?")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    # The hasher's queue is not asked: a full one is work, and taking the replica out of rotation
    # would send its work to the others.
    @routes.get(
        paths.HEALTH_READY,
        summary="Can the service do its work?",
        responses=openapi.problems(ErrorCode.UNAVAILABLE),
    )
    async def ready() -> dict[str, str]:
        await check()
        return {"status": "ready"}

    return routes
