"""The passwords that were right a moment ago, so that the same one is not hashed again at once.

Off unless an operator asks for it. What it saves is the slow hash and nothing else: throttles, the
soft-lock, the state of the account, the end of a temporary password and the trail come before it or
behind it as always. What it costs is in docs/decisions.md:

* While an entry is there, who can read the memory of the process has a keyed digest of a password
  beside the key that made it, and can try guesses as fast as SHA-256 is, and not as slowly as the
  record's hash. Freed memory is not overwritten, either.
* A hit is faster than a hash. Who has the right password sees by that whether it was used within
  the last seconds. To everybody else all answers are as they were: a wrong password always costs a
  hash.

Nothing is looked up by name. In each check the account is read from the database anew, and an entry
is of all that was read: whatever has been changed since, by whichever process, it is of another
account, and is dropped when that is noticed.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Final, NamedTuple

from lalepass_service.core.digests import Digests
from lalepass_service.core.model import (
    OWN_SCHEME,
    Credentials,
    Password,
    PasswordRecord,
    User,
    UserId,
)

_MAX_ACCOUNTS: Final = 50_000
"""Entries at a time, one an account. Beyond that the oldest one goes."""

_KEY_BYTES: Final = 32

_NOBODY: Final = Credentials(
    user=User(
        id=UserId("00000000-0000-4000-8000-000000000000"),
        localpart="nobody",
        display_name="Nobody",
        emails=("nobody@example.org",),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        password_changed_at=datetime(2026, 1, 1, tzinfo=UTC),
        password_scheme=OWN_SCHEME,
    ),
    record=PasswordRecord("$" * 96, stored="$" * 192),
)
"""Like any account: an unknown name takes as many microseconds."""


class _Entry(NamedTuple):
    account: bytes
    """Of all that was read of the account."""
    right: bytes
    """Of that and the password."""
    until: float


class RecentChecks:
    """Remembers right passwords for some seconds. To be used on one thread."""

    def __init__(
        self,
        *,
        seconds: float,
        max_accounts: int = _MAX_ACCOUNTS,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """Begin with nothing.

        Args:
            seconds: how long each is remembered; 0 for not at all.
            max_accounts: how many are remembered at a time.
            now: seconds that only go forward.
        """
        self._seconds = seconds
        self._max_accounts = max_accounts
        self._now = now
        # Random, so that it is good for this process only: nothing of it is ever written down.
        self._digests = Digests(secrets.token_bytes(_KEY_BYTES))
        # The oldest first, since all are kept equally long.
        self._entries: OrderedDict[UserId, _Entry] = OrderedDict()

    def knows(self, credentials: Credentials | None, password: Password) -> bool:
        """Say whether just this password was right a moment ago, for just this account.

        The digests are made in any case, so that it takes the same for everybody.
        """
        if not self._seconds:
            return False
        found = _NOBODY if credentials is None else credentials
        account, right = self._names(found, password)
        entry = self._entries.get(found.user.id)
        if entry is None:
            return False
        if entry.until <= self._now() or not hmac.compare_digest(entry.account, account):
            del self._entries[found.user.id]
            return False
        return hmac.compare_digest(entry.right, right)

    def remember(self, credentials: Credentials, password: Password) -> None:
        """Take down that this password is right. Its time begins now, and no hit prolongs it."""
        if not self._seconds:
            return
        account, right = self._names(credentials, password)
        until = self._now() + self._seconds
        self._entries[credentials.user.id] = _Entry(account, right, until)
        self._entries.move_to_end(credentials.user.id)
        if len(self._entries) > self._max_accounts:
            self._entries.popitem(last=False)

    def forget_old(self) -> None:
        """Drop what is over. To be called now and then, for those that nobody asks about."""
        now = self._now()
        while self._entries and next(iter(self._entries.values())).until <= now:
            self._entries.popitem(last=False)

    def _names(self, credentials: Credentials, password: Password) -> tuple[bytes, bytes]:
        account = self._digests.account(credentials)
        return account, self._digests.right(account, password)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        count = len(self._entries)
        return f"{type(self).__name__}({count} account{'' if count == 1 else 's'})"
