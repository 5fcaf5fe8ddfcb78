"""`POST /v1/credentials/check`: the contract on one side, the rules on the other."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends

from lalepass_service.core import check as core
from lalepass_service.core.errors import InvalidInput
from lalepass_service.core.guard import Attempt
from lalepass_service.core.identifiers import (
    ByEmail,
    ByLocalpart,
    ByPhone,
    Identifier,
    canonical_email,
    canonical_localpart,
    canonical_phone,
)
from lalepass_service.core.model import Caller, Password, User
from lalepass_service.http import openapi
from lalepass_service.http.bodies import without_nul
from lalepass_service.http.callers import Authenticate
from lalepass_wire import (
    Accepted,
    AcceptedUser,
    CheckRequest,
    EmailIdentifier,
    ErrorCode,
    PhoneIdentifier,
    RefusalReason,
    Refused,
    UserIdentifier,
    paths,
)

_NOBODY: Final = ByLocalpart("")
"""No account can have this name, so the check takes the way, and the time, of an unknown one."""

_PROBLEMS: Final = (
    ErrorCode.MALFORMED_REQUEST,
    ErrorCode.CALLER_UNKNOWN,
    ErrorCode.SCOPE_MISSING,
    ErrorCode.REQUEST_TIMEOUT,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.THROTTLED,
    ErrorCode.INTERNAL,
    ErrorCode.OVERLOADED,
    ErrorCode.UNAVAILABLE,
)


def router(*, authenticate: Authenticate) -> APIRouter:
    """Return the route as the description of the API and other methods than POST see it.

    `direct.DirectCheck` stands in front of it and answers.
    """
    routes = APIRouter(tags=["credentials"])

    @routes.post(
        paths.CHECK_CREDENTIALS,
        summary="Is this the password of this account?",
        description="Accepted and refused are both answers, with 200. Everything else is neither.",
        response_model=Accepted | Refused,
        responses=openapi.problems(*_PROBLEMS),
        openapi_extra=openapi.body(CheckRequest),
    )
    async def check_credentials(_: Annotated[Caller, Depends(authenticate)]) -> None:
        raise NotImplementedError("a check is answered before it comes here")

    return routes


def attempted(asked: CheckRequest, caller: Caller, *, request_id: str) -> Attempt:
    """Put a request into the words of the rules."""
    return Attempt(
        identifier=identifier(asked),
        password=Password(asked.password.get_secret_value()),
        caller=caller.name,
        ip=asked.source.ip if asked.source else None,
        user_agent=without_nul(asked.source.user_agent) if asked.source else None,
        request_id=request_id,
    )


def identifier(asked: CheckRequest) -> Identifier:
    """Return the account that is meant, in the one spelling that the rules know."""
    try:
        match asked.identifier:
            case UserIdentifier(localpart=localpart):
                return ByLocalpart(canonical_localpart(localpart))
            case EmailIdentifier(address=address):
                return ByEmail(canonical_email(address))
            case PhoneIdentifier(number=number):
                return ByPhone(canonical_phone(f"+{number}"))
    except InvalidInput:
        # The contract allows it, the rules don't: then nobody has it. A 400 would be one more
        # answer to tell accounts apart by.
        return _NOBODY


def answer(outcome: core.Outcome) -> Accepted | Refused:
    """Put an outcome into the words of the contract."""
    if isinstance(outcome, core.Refused):
        return Refused(reason=RefusalReason(outcome.reason))
    return Accepted(user=_user(outcome.user))


def _user(user: User) -> AcceptedUser:
    return AcceptedUser(
        id=user.id,
        localpart=user.localpart,
        display_name=user.display_name,
        emails=user.emails,
        phones=user.phones,
        admin=user.admin,
    )
