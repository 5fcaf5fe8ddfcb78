"""How the service says that it has no answer: RFC 9457 problem documents.

A refused password is not an error and never arrives as one: see `models.Refused`.
"""

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"


class ErrorCode(StrEnum):
    """What a program should look at; the texts beside it are for people and may change."""

    # 400: the body is no JSON, or not of the shape in the contract
    MALFORMED_REQUEST = "malformed_request"
    # 401: no token, or one that the service does not know or that was revoked
    CALLER_UNKNOWN = "caller_unknown"
    # 403: the token is good, but not for this
    SCOPE_MISSING = "scope_missing"
    # 404 and 405: no such path, or not with this method
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    # 408: the request did not arrive in time
    REQUEST_TIMEOUT = "request_timeout"
    # 410: the cursor is of another database, or of one that was restored: begin anew
    CURSOR_UNKNOWN = "cursor_unknown"
    # 413: the body is longer than limits.MAX_REQUEST_BYTES
    BODY_TOO_LARGE = "body_too_large"
    # 415: the body is not declared as application/json
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    # 429: this caller, source or account has to wait
    THROTTLED = "throttled"
    # 503: more checks wait than the service can answer in time
    OVERLOADED = "overloaded"
    # 503: the service lacks something that it needs, such as its database
    UNAVAILABLE = "unavailable"
    # 500: a fault of the service; its log has the details
    INTERNAL = "internal"


class Problem(BaseModel):
    """The body of every answer that is not 200 (media type `application/problem+json`).

    Example: `{"type": "urn:lalepass:problem:overloaded", "title": "Too many checks are queued",
    "status": 503, "code": "overloaded", "retry_after_seconds": 1}`.

    `code` is text here, and not an `ErrorCode`: a caller has to cope with codes of a newer service.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    retry_after_seconds: float | None = Field(default=None, ge=0)
