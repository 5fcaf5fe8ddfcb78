"""The trail: who did what, from where, when, and how it ended.

Never a secret, and never anything that was typed where no account was found: people type passwords
into the field for the name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from lalepass_service.core.model import UserId


class Event(StrEnum):
    """What happened."""

    CHECK = "check"
    USER_ADDED = "user_added"
    USER_DISABLED = "user_disabled"
    USER_ENABLED = "user_enabled"
    USER_DELETED = "user_deleted"
    USER_UNLOCKED = "user_unlocked"
    PASSWORD_SET = "password_set"  # noqa: S105 - the name of an event
    TOKEN_CREATED = "token_created"  # noqa: S105 - as above
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - as above


DONE = "done"
"""The outcome of an act of an operator's: those that fail change nothing and leave no entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the trail."""

    at: datetime
    event: Event
    outcome: str
    """For a check: accepted, refused_<reason>, throttled, or no_answer_<what was missing>."""
    actor: str
    """The name of the token that asked, or who ran the command."""
    user_id: UserId | None = None
    localpart: str | None = None
    source_ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    details: Mapping[str, str | int | bool] = field(default_factory=lambda: MappingProxyType({}))
