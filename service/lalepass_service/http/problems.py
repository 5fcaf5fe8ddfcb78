"""The one table from exceptions to answers (RFC 9457).

An answer from here does not depend on whether an account exists, but for one: a check of an unknown
account is refused with 200, and what goes wrong on the way goes wrong for every account alike. A
record that can't be read is somebody's, and the 503 that it ends in says so to whoever has spent a
guess on it (docs/decisions.md, 53).
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lalepass_service.core import errors as core
from lalepass_service.http import errors
from lalepass_wire import PROBLEM_MEDIA_TYPE, ErrorCode, Problem

_URN: Final = "urn:lalepass:problem:"
_RETRY_AFTER_SECONDS: Final = 2.0
"""When the service can't tell: long enough not to add to the load, short enough for a login."""


class Kind(NamedTuple):
    """What all problems of one code have in common."""

    status: int
    title: str


KINDS: Final[Mapping[ErrorCode, Kind]] = {
    ErrorCode.MALFORMED_REQUEST: Kind(400, "The request does not match the API"),
    ErrorCode.CALLER_UNKNOWN: Kind(401, "This needs a valid token"),
    ErrorCode.SCOPE_MISSING: Kind(403, "The token lacks the scope for this"),
    ErrorCode.NOT_FOUND: Kind(404, "There is no such path"),
    ErrorCode.METHOD_NOT_ALLOWED: Kind(405, "This path does not support this method"),
    ErrorCode.REQUEST_TIMEOUT: Kind(408, "The request did not arrive in time"),
    ErrorCode.CURSOR_UNKNOWN: Kind(410, "The cursor belongs to another database: start again"),
    ErrorCode.BODY_TOO_LARGE: Kind(413, "The body is too long"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Kind(415, "The body has to be application/json"),
    ErrorCode.THROTTLED: Kind(429, "Too many attempts"),
    ErrorCode.OVERLOADED: Kind(503, "Too many checks are queued"),
    ErrorCode.UNAVAILABLE: Kind(503, "The service can't answer at the moment"),
    ErrorCode.INTERNAL: Kind(500, "The service has a fault"),
}

_CODES: Final[Mapping[type[Exception], ErrorCode]] = {
    errors.MalformedRequest: ErrorCode.MALFORMED_REQUEST,
    errors.BodyTooLarge: ErrorCode.BODY_TOO_LARGE,
    errors.WrongMediaType: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    errors.RequestTooSlow: ErrorCode.REQUEST_TIMEOUT,
    errors.AnswerTooSlow: ErrorCode.UNAVAILABLE,
    errors.CallerGone: ErrorCode.REQUEST_TIMEOUT,
    RequestValidationError: ErrorCode.MALFORMED_REQUEST,
    core.CursorUnknown: ErrorCode.CURSOR_UNKNOWN,
    core.CallerUnknown: ErrorCode.CALLER_UNKNOWN,
    core.ScopeMissing: ErrorCode.SCOPE_MISSING,
    core.Throttled: ErrorCode.THROTTLED,
    core.Overloaded: ErrorCode.OVERLOADED,
    core.NoAnswer: ErrorCode.UNAVAILABLE,
}

_HTTP_CODES: Final[Mapping[int, ErrorCode]] = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
}

HANDLED: Final[tuple[type[Exception], ...]] = (*_CODES, HTTPException)
"""Every other exception is a fault of ours: see `unforeseen.py`."""


def code_of(error: BaseException) -> ErrorCode:
    """Return the code for an exception; the most specific entry of the table decides."""
    if isinstance(error, HTTPException):
        return _HTTP_CODES.get(error.status_code, ErrorCode.MALFORMED_REQUEST)
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return ErrorCode.INTERNAL


def answer_to(error: BaseException) -> Response:
    """Return the answer to a request that ended with this exception."""
    code = code_of(error)
    kind = KINDS[code]
    problem = Problem(
        type=f"{_URN}{code}",
        title=kind.title,
        status=kind.status,
        code=code,
        detail=error.detail if isinstance(error, errors.MalformedRequest) else None,
        retry_after_seconds=_retry_after(error, status=kind.status),
    )
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=kind.status,
        headers=_headers(error, problem),
        media_type=PROBLEM_MEDIA_TYPE,
    )


async def handle(_request: Request, error: Exception) -> Response:
    """Answer, in the form in which Starlette wants its exception handlers."""
    return answer_to(error)


def _retry_after(error: BaseException, *, status: int) -> float | None:
    if isinstance(error, core.Overloaded | core.Throttled):
        return error.retry_after
    return _RETRY_AFTER_SECONDS if status in {429, 503} else None


def _headers(error: BaseException, problem: Problem) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, HTTPException):
        # Allow, with a 405
        headers |= error.headers or {}
    if problem.status == KINDS[ErrorCode.CALLER_UNKNOWN].status:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(math.ceil(problem.retry_after_seconds))
    return headers
