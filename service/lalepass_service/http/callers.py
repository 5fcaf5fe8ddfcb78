"""Who calls: the bearer token, before anything else of the request is looked at."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from lalepass_service.core.callers import CallerRegistry
from lalepass_service.core.errors import CallerUnknown
from lalepass_service.core.model import Caller, Scope

_BEARER: Final = HTTPBearer(
    scheme_name="token",
    description="A token made with `lalepass token create`.",
    # Ours raises, so that the answer comes out of the one table.
    auto_error=False,
)

Authenticate = Callable[..., Awaitable[Caller]]


def caller_with(scope: Scope, *, registry: CallerRegistry) -> Authenticate:
    """Return a dependency that lets in callers with `scope`, and nobody else."""

    async def authenticate(token: str) -> Caller:
        return await registry.authenticate(token, scope)

    return _let_in(authenticate)


def any_caller(*, registry: CallerRegistry) -> Authenticate:
    """Return a dependency that lets in every caller with a token, whatever it is good for."""

    async def recognise(token: str) -> Caller:
        return await registry.recognise(token)

    return _let_in(recognise)


def _let_in(caller_of: Callable[[str], Awaitable[Caller]]) -> Authenticate:
    async def authenticate(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Caller:
        if credentials is None:
            raise CallerUnknown
        caller = await caller_of(credentials.credentials)
        request.state.caller = caller.name
        return caller

    return authenticate
