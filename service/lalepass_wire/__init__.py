"""The contract between a caller of Lalepass and the service.

Request and answer bodies, paths, error codes and limits: everything that both sides must agree
on, and nothing else. This package imports pydantic only, so that it can live inside Synapse.
"""

from lalepass_wire.errors import PROBLEM_MEDIA_TYPE, ErrorCode, Problem
from lalepass_wire.models import (
    Accepted,
    AcceptedUser,
    CallerFacts,
    CheckAnswer,
    CheckRequest,
    EmailIdentifier,
    Identifier,
    PhoneIdentifier,
    RefusalReason,
    Refused,
    Source,
    UserIdentifier,
    parse_answer,
    parse_caller,
)

__all__ = [
    "PROBLEM_MEDIA_TYPE",
    "Accepted",
    "AcceptedUser",
    "CallerFacts",
    "CheckAnswer",
    "CheckRequest",
    "EmailIdentifier",
    "ErrorCode",
    "Identifier",
    "PhoneIdentifier",
    "Problem",
    "RefusalReason",
    "Refused",
    "Source",
    "UserIdentifier",
    "parse_answer",
    "parse_caller",
]
