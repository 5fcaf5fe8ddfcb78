"""Is this the password of this account? What Lalepass exists for."""

from dataclasses import dataclass
from enum import StrEnum

from lalepass_service.core.identifiers import Identifier
from lalepass_service.core.model import Credentials, Password, User, UserState
from lalepass_service.core.ports import Hasher, Users


class Refusal(StrEnum):
    """Why not, as far as a caller may know. All but `CREDENTIALS` need the right password."""

    CREDENTIALS = "credentials"
    DISABLED = "disabled"


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

    def __init__(self, *, users: Users, hasher: Hasher) -> None:
        self._users = users
        self._hasher = hasher

    async def check(self, identifier: Identifier, password: Password) -> Outcome:
        """Decide about one password, without a look at how often somebody has guessed.

        Raises:
            NoAnswer: it could not be found out.
        """
        return await self.decide(await self._users.credentials(identifier), password)

    async def decide(self, credentials: Credentials | None, password: Password) -> Outcome:
        """Decide about a password, given what is known of the account.

        Every way through here costs exactly one hash, so that time does not tell an unknown
        account from a known one, nor an account without a password from one with.

        Raises:
            NoAnswer: it could not be found out.
        """
        record = credentials.record if credentials else None
        matches = await self._hasher.verify(password, record)
        if credentials is None or not matches:
            return Refused(Refusal.CREDENTIALS)
        if credentials.user.state is UserState.DISABLED:
            return Refused(Refusal.DISABLED)
        return Accepted(credentials.user)
