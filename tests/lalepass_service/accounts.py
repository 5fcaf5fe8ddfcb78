"""People for the tests."""

from datetime import UTC, datetime

from lalepass_service.core.model import User, UserId, UserState

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


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
