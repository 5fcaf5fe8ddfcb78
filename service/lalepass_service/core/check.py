"""Is this the password of this account? What Lalepass exists for."""

from dataclasses import dataclass
from enum import StrEnum

from lalepass_service.core.identifiers import Identifier
from lalepass_service.core.model import (
    Credentials,
    Password,
    PasswordRecord,
    User,
    UserState,
)
from lalepass_service.core.ports import Clock, Hasher, Users


class Refusal(StrEnum):
    """Why not, as far as a caller may know. All but `CREDENTIALS` need the right password."""

    CREDENTIALS = "credentials"
    DISABLED = "disabled"
    PASSWORD_CHANGE_REQUIRED = "password_change_required"  # noqa: S105 - the name of a reason


@dataclass(frozen=True, slots=True)
class Accepted:
    """The password is right and the account may be used."""

    user: User


@dataclass(frozen=True, slots=True)
class Refused:
    """No. That is an answer; what prevents an answer is raised."""

    reason: Refusal


Outcome = Accepted | Refused


class CredentialCheck:
    """Checks passwords against the user store."""

    def __init__(self, *, users: Users, hasher: Hasher, clock: Clock) -> None:
        self._users = users
        self._hasher = hasher
        self._clock = clock

    async def check(self, identifier: Identifier, password: Password) -> Outcome:
        """Decide about one password.

        Every way through here costs exactly one hash, so that time does not tell an unknown
        account from a known one, nor an account without a password from one with.

        Raises:
            NoAnswer: it could not be found out.
        """
        credentials = await self._users.credentials(identifier)
        record = self._record(credentials)
        matches = await self._hasher.verify(password, record)
        if credentials is None or not matches:
            return Refused(Refusal.CREDENTIALS)
        if credentials.user.state is UserState.DISABLED:
            return Refused(Refusal.DISABLED)
        if credentials.user.password_must_change:
            return Refused(Refusal.PASSWORD_CHANGE_REQUIRED)
        return Accepted(credentials.user)

    def _record(self, credentials: Credentials | None) -> PasswordRecord | None:
        """Return what the password is to be compared with.

        An expired temporary password is none: the account is answered for like one that has no
        password, with a decoy. Whoever finds an old one in a mailbox learns nothing by it, not
        even that the account exists. The price: its owner isn't told that it has expired, and has
        to ask the operator, whom `lalepass user show` tells.
        """
        if credentials is None or credentials.user.has_expired_password(self._clock.now()):
            return None
        return credentials.record
