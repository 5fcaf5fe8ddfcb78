"""The trail: who did what, from where, when, and how it ended.

Never a secret, and never anything that was typed where no account was found: people type passwords
into the field for the name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from lalepass_service.core.model import UserId


class Event(StrEnum):
    """What happened."""

    CHECK = "check"
    USER_ADDED = "user_added"
    USER_IMPORTED = "user_imported"
    USER_EDITED = "user_edited"
    USER_DISABLED = "user_disabled"
    USER_ENABLED = "user_enabled"
    USER_DELETED = "user_deleted"
    USER_UNLOCKED = "user_unlocked"
    USER_SIGNED_OUT = "user_signed_out"
    PASSWORD_SET = "password_set"  # noqa: S105 - the name of an event
    TOKEN_CREATED = "token_created"  # noqa: S105 - as above
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - as above
    KEY_ADDED = "key_added"
    KEY_PROMOTED = "key_promoted"
    KEY_RETIRED = "key_retired"
    DATABASE_RESTORED = "database_restored"
    # with the first record that moves; so it is there also when the run was killed
    KEYS_REWRAP_BEGUN = "keys_rewrap_begun"
    KEYS_REWRAPPED = "keys_rewrapped"


DONE: Final = "done"
"""The outcome of an act of an operator's: those that fail change nothing and leave no entry."""

Fact = str | int | bool

MAX_USER_AGENT: Final = 256
"""Characters of a user agent that are kept. Those of browsers and clients have half of that; what
is longer was made up, by people who need no password to have it written down."""

_CUT: Final = "\u2026"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the trail."""

    at: datetime
    event: Event | str
    """Text only if a later version has written it, which knows more of them."""
    outcome: str
    """For a check: accepted, refused_<reason>, throttled, or no_answer_<what was missing>."""
    actor: str
    """The name of the token that asked, or `operator:` and who ran the command."""
    user_id: UserId | None = None
    localpart: str | None = None
    source_ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    details: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who changes something, and so stands in the trail for it."""

    name: str
    """Tokens have names without a colon, so `operator:root` is nobody's token."""
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))
    """What else is known of who it was. Goes into the details of each of their acts."""

    def act(
        self,
        event: Event,
        *,
        at: datetime,
        user_id: UserId | None = None,
        localpart: str | None = None,
        details: Mapping[str, Fact] = MappingProxyType({}),
    ) -> Entry:
        """Return the entry of an act, to be written in the transaction of what it changes."""
        return Entry(
            at=at,
            event=event,
            outcome=DONE,
            actor=self.name,
            user_id=user_id,
            localpart=localpart,
            details={**self.facts, **details},
        )


def shortened(user_agent: str | None) -> str | None:
    """Return what is kept of a user agent; it ends with an ellipsis if there was more of it."""
    if user_agent is None or len(user_agent) <= MAX_USER_AGENT:
        return user_agent
    return user_agent[: MAX_USER_AGENT - len(_CUT)] + _CUT


def document(entry: Entry) -> dict[str, object]:
    """Return an entry as it is exported and copied: an object of JSON."""
    return {
        "at": entry.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "event": entry.event,
        "outcome": entry.outcome,
        "actor": entry.actor,
        "user_id": entry.user_id,
        "localpart": entry.localpart,
        "source_ip": entry.source_ip,
        "user_agent": entry.user_agent,
        "request_id": entry.request_id,
        "details": dict(sorted(entry.details.items())),
    }
