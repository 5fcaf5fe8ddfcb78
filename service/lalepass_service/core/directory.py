"""What an operator does with accounts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from lalepass_service.core.errors import UserNotFound
from lalepass_service.core.identifiers import (
    ByLocalpart,
    canonical_display_name,
    canonical_email,
    canonical_localpart,
    canonical_phone,
)
from lalepass_service.core.model import Password, User, UserId, UserState
from lalepass_service.core.policy import PasswordPolicy
from lalepass_service.core.ports import Clock, Hasher, SoftLocks, Users


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """An account to be made, as an operator typed it."""

    localpart: str
    display_name: str | None = None
    emails: Sequence[str] = ()
    phones: Sequence[str] = ()
    admin: bool = False


class Directory:
    """Makes, shows, changes and removes accounts. Every method may raise NoAnswer."""

    def __init__(
        self,
        *,
        users: Users,
        hasher: Hasher,
        locks: SoftLocks,
        clock: Clock,
        policy: PasswordPolicy,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._users = users
        self._hasher = hasher
        self._locks = locks
        self._clock = clock
        self._policy = policy
        self._new_id = new_id

    async def add(
        self, new: NewUser, password: Password | None, *, reuse_name: bool = False
    ) -> User:
        """Make an account. Without a password nobody can log in to it yet.

        Raises:
            InvalidInput: a name, an address, a number or the password is not acceptable.
            AlreadyTaken: another account has one of them.
            NameRetired: the localpart belonged to a deleted account, and not `reuse_name`.
        """
        now = self._clock.now()
        user = User(
            id=UserId(self._new_id()),
            localpart=canonical_localpart(new.localpart),
            display_name=canonical_display_name(new.display_name) if new.display_name else None,
            emails=tuple(dict.fromkeys(map(canonical_email, new.emails))),
            phones=tuple(dict.fromkeys(map(canonical_phone, new.phones))),
            admin=new.admin,
            created_at=now,
            password_changed_at=now if password else None,
        )
        record = None
        if password is not None:
            self._policy.examine(password)
            record = await self._hasher.hash(password)
        await self._users.add(user, record, reuse_name=reuse_name)
        return user

    async def get(self, localpart: str) -> User:
        """Return an account.

        Raises:
            InvalidInput: this can't be a localpart.
            UserNotFound: nobody has it.
        """
        user = await self._users.find(ByLocalpart(canonical_localpart(localpart)))
        if user is None:
            raise UserNotFound(localpart)
        return user

    async def page(
        self, *, after: str | None = None, limit: int = 100, state: UserState | None = None
    ) -> Sequence[User]:
        """Return up to `limit` accounts behind `after`, in the order of their localparts."""
        return await self._users.page(after=after, limit=limit, state=state)

    async def set_password(self, localpart: str, password: Password) -> None:
        """Replace an account's password.

        Raises:
            PasswordRejected: it breaks a rule.
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        self._policy.examine(password)
        record = await self._hasher.hash(password)
        changed = await self._users.set_password(user.id, record, changed_at=self._clock.now())
        _require(changed, localpart)
        # A reset opens what wrong passwords have closed, and what was wrong may be right now.
        await self._locks.unlock(user.id)

    async def failures(self, localpart: str) -> int:
        """Return how many wrong passwords in a row stand against an account, in its worst lane.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        return max((lane.failures for lane in await self._locks.lanes(user.id)), default=0)

    async def unlock(self, localpart: str) -> bool:
        """Forget an account's wrong passwords. Returns False if there were none.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        return await self._locks.unlock(user.id)

    async def set_state(self, localpart: str, state: UserState) -> None:
        """Enable or disable an account. Its password stays as it is.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        _require(await self._users.set_state(user.id, state), localpart)

    async def delete(self, localpart: str) -> None:
        """Remove an account for good. Its localpart stays retired: see `errors.NameRetired`.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        _require(await self._users.delete(user.id, deleted_at=self._clock.now()), localpart)


def _require(found: bool, localpart: str) -> None:  # noqa: FBT001 - the answer of a store
    """Somebody else may have deleted the account between the look and the change."""
    if not found:
        raise UserNotFound(localpart)
