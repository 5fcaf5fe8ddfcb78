"""`GET /v1/caller`: how a caller sees that it is connected. It changes nothing."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from lalepass_service.core.model import Caller
from lalepass_service.core.ports import Clock
from lalepass_service.http import openapi
from lalepass_service.http.callers import Authenticate
from lalepass_wire import CallerFacts, ErrorCode, paths


def router(*, authenticate: Authenticate, clock: Clock, service_version: str) -> APIRouter:
    """Return the route, for callers that `authenticate` lets in."""
    routes = APIRouter(tags=["callers"])

    @routes.get(
        paths.CALLER,
        summary="Whom does the service take me for?",
        responses=openapi.problems(
            ErrorCode.CALLER_UNKNOWN, ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE
        ),
    )
    async def caller(
        known: Annotated[Caller, Depends(authenticate)], response: Response
    ) -> CallerFacts:
        # A cached answer would hide that the token has been revoked since, and show an old time.
        response.headers["Cache-Control"] = "no-store"
        return CallerFacts(
            name=known.name,
            scopes=tuple(sorted(known.scopes)),
            service_version=service_version,
            server_time=clock.now(),
        )

    return routes
