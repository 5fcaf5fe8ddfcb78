"""People for the tests, and who changes something about them."""

from collections.abc import Callable
from datetime import UTC, datetime

from lalepass_service.core.audit import Actor, Entry, Event
from lalepass_service.core.model import User, UserId, UserState

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

BY = Actor(name="operator:root")

ACT = BY.act(Event.USER_ADDED, at=NOW)
"""For tests that are not about the trail."""

CHECKED = Entry(
    at=NOW,
    event=Event.CHECK,
    outcome="accepted",
    actor="synapse",
    user_id=UserId("id-alice"),
    localpart="alice",
    source_ip="192.0.2.1",
    user_agent="Element",
    request_id="POST-1",
)
"""For those that are."""


def standing(moment: datetime) -> Callable[[], datetime]:
    """Return what tells the time when a change is made: always this one."""
    return lambda: moment


def a_user(
    localpart: str = "alice",
    *,
    emails: tuple[str, ...] = (),
    phones: tuple[str, ...] = (),
    state: UserState = UserState.ACTIVE,
    password_changed_at: datetime | None = None,
) -> User:
    return User(
        id=UserId(f"id-{localpart}"),
        localpart=localpart,
        emails=emails,
        phones=phones,
        state=state,
        created_at=NOW,
        password_changed_at=password_changed_at,
    )
