"""Who calls: the bearer token, before anything else of the request is looked at."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request
from starlette.types import Scope as ASGIScope

from lalepass_service.core.callers import CallerRegistry
from lalepass_service.core.errors import CallerUnknown
from lalepass_service.core.model import Caller, Scope

_BEARER: Final = HTTPBearer(
    scheme_name="token",
    description="A token made with `lalepass token create`.",
    # Ours raises, so that the answer comes out of the one table.
    auto_error=False,
)

KNOWN: Final = "lalepass.caller_is_known"
"""An extension of ASGI, in `scope["extensions"]` where the server has it: is called when the token
of a request was good, so that its connection does not have to make room for others."""

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
        tell_that_known(request.scope)
        return caller

    return authenticate


def tell_that_known(scope: ASGIScope) -> None:
    """Say to the server that the caller of this request is one of ours."""
    known = scope.get("extensions", {}).get(KNOWN)
    if known is not None:
        known()
