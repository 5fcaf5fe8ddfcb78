"""Accounts as operators type them: new ones, and what is to be another way from now on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Final

from lalepass_service.core.errors import InvalidInput
from lalepass_service.core.identifiers import (
    canonical_display_name,
    canonical_email,
    canonical_localpart,
    canonical_phone,
)
from lalepass_service.core.model import User, UserId, UserState

MAX_ADDRESSES: Final = 16
"""E-mail addresses of an account, and phone numbers: what the contract with homeservers knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """An account to be made, as an operator typed it."""

    localpart: str
    display_name: str | None = None
    emails: Sequence[str] = ()
    phones: Sequence[str] = ()
    admin: bool = False
    state: UserState = UserState.ACTIVE

    def canonical(self, *, user_id: UserId, created_at: datetime) -> User:
        """Return the account.

        Raises:
            InvalidInput: a name, an address or a number is not acceptable, or there are too many.
        """
        return User(
            id=user_id,
            localpart=canonical_localpart(self.localpart),
            display_name=canonical_display_name(self.display_name) if self.display_name else None,
            emails=_bounded("e-mail addresses", map(canonical_email, self.emails)),
            phones=_bounded("phone numbers", map(canonical_phone, self.phones)),
            admin=self.admin,
            state=self.state,
            created_at=created_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What is to be another way, as an operator typed it. The rest stays as it is."""

    display_name: str | None = None
    """Empty for none."""
    add_emails: Sequence[str] = ()
    remove_emails: Sequence[str] = ()
    add_phones: Sequence[str] = ()
    remove_phones: Sequence[str] = ()
    admin: bool | None = None

    def asked(self) -> list[str]:
        """Return the names of what is asked for."""
        return [each.name for each in fields(self) if getattr(self, each.name) not in (None, ())]

    def applied(self, user: User) -> User:
        """Return the account as it is to be.

        Raises:
            InvalidInput: a name, an address or a number is not acceptable, is to be removed and
                not there, or there would be too many.
        """
        named = self.display_name and canonical_display_name(self.display_name)
        return replace(
            user,
            display_name=user.display_name if self.display_name is None else named or None,
            emails=_bounded(
                "e-mail addresses",
                _edited(user.emails, self.add_emails, self.remove_emails, canonical_email),
            ),
            phones=_bounded(
                "phone numbers",
                _edited(user.phones, self.add_phones, self.remove_phones, canonical_phone),
            ),
            admin=user.admin if self.admin is None else self.admin,
        )


def _edited(
    now: Sequence[str],
    add: Iterable[str],
    remove: Iterable[str],
    canonical: Callable[[str], str],
) -> list[str]:
    """Return a list without some and with others, which come at the end."""
    left = list(now)
    for text in remove:
        if (value := canonical(text)) not in left:
            raise InvalidInput(f"the account does not have {text}")
        left.remove(value)
    return left + [canonical(text) for text in add]


def _bounded(what: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return each of these once, unless they are too many."""
    once = tuple(dict.fromkeys(values))
    if len(once) > MAX_ADDRESSES:
        raise InvalidInput(f"an account has at most {MAX_ADDRESSES} {what}")
    return once


def is_same(*, there: User, wanted: User) -> bool:
    """Say whether an account that is there is the one that is to be brought along."""
    return wanted == replace(
        there,
        id=wanted.id,
        created_at=wanted.created_at,
        # what an operator has done about the password since is no other account
        password_changed_at=wanted.password_changed_at,
        password_must_change=wanted.password_must_change,
        password_expires_at=wanted.password_expires_at,
        unlocked_at=wanted.unlocked_at,
    )
