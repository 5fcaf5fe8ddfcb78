"""What an operator does with accounts."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from lalepass_service.core.audit import Actor, Entry, Event, Fact
from lalepass_service.core.editing import Edit, NewUser, is_same
from lalepass_service.core.errors import AlreadyTaken, NoAnswer, UserNotFound
from lalepass_service.core.identifiers import (
    ByLocalpart,
    canonical_localpart,
)
from lalepass_service.core.model import (
    Credentials,
    Password,
    PasswordRecord,
    User,
    UserId,
    UserState,
)
from lalepass_service.core.policy import Context, PasswordPolicy
from lalepass_service.core.ports import Clock, Hasher, SoftLocks, Users
from lalepass_service.core.sign_ins import SignIn, SignIns


class Directory:
    """Makes, shows, changes and removes accounts, on behalf of somebody: see `audit.Actor`.

    Every method may raise NoAnswer.
    """

    def __init__(
        self,
        *,
        users: Users,
        hasher: Hasher,
        locks: SoftLocks,
        clock: Clock,
        policy: PasswordPolicy,
        by: Actor,
        sign_ins: SignIns,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._users = users
        self._hasher = hasher
        self._locks = locks
        self._clock = clock
        self._policy = policy
        self._by = by
        self._sign_ins = sign_ins
        self._new_id = new_id

    async def add(
        self,
        new: NewUser,
        password: Password | PasswordRecord | None,
        *,
        reuse_name: bool = False,
    ) -> User:
        """Make an account. Without a password nobody can log in to it yet.

        A record that another program made stands for a password that nobody here knows, so no
        rule is asked about it.

        Raises:
            InvalidInput: a name, an address, a number or the password is not acceptable.
            AlreadyTaken: another account has one of them.
            NameRetired: the localpart belonged to a deleted account, and not `reuse_name`.
            BlocklistUnavailable: a blocklist can't be read any more.
        """
        return await self._add(new, password, reuse_name=reuse_name, event=Event.USER_ADDED)

    async def bring(self, new: NewUser, record: PasswordRecord | None) -> bool:
        """Make an account that comes from elsewhere. Returns False if it is there already.

        There means: just so. A record that was renewed at a login since is taken for the same.

        Raises:
            InvalidInput: a name, an address or a number is not acceptable.
            AlreadyTaken: another account has one of them, or this one is there but different.
            NameRetired: the localpart belonged to a deleted account.
        """
        try:
            await self._add(new, record, reuse_name=False, event=Event.USER_IMPORTED)
        except AlreadyTaken:
            wanted = self._canonical(new)
            there = await self._users.credentials(ByLocalpart(wanted.localpart))
            if there is None or not self._is_there(there, wanted, record):
                raise
            return False
        return True

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
        """Return up to `limit` accounts behind `after`, in the order of their localparts.

        Raises:
            InvalidInput: `after` can't be a localpart.
        """
        if after is not None:
            canonical_localpart(after)
        return await self._users.page(after=after, limit=limit, state=state)

    async def set_password(
        self,
        localpart: str,
        password: Password | PasswordRecord,
        *,
        must_change: bool = False,
        valid_for: timedelta | None = None,
        keep_sessions: bool = False,
    ) -> None:
        """Replace an account's password, and end its sessions: the old one may have been stolen.

        With `valid_for` it is temporary and ends by itself. That implies `must_change`: what two
        people know is to be short-lived in every way.

        Raises:
            PasswordRejected: it breaks a rule.
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        record = await self._record_of(password, user)
        now = self._clock.now()
        must_change = must_change or valid_for is not None
        expires_at = None if valid_for is None else now + valid_for
        details = _about_password(password)
        details |= {"must_change": must_change, "sign_out": not keep_sessions}
        if expires_at is not None:
            details["expires_at"] = expires_at.isoformat(timespec="seconds")
        changed = await self._users.set_password(
            user.id,
            record,
            changed_at=now,
            must_change=must_change,
            expires_at=expires_at,
            act=self._act(Event.PASSWORD_SET, user, details),
            sign_out=None if keep_sessions else self._clock.now,
        )
        _require(changed, localpart)
        # A reset opens what wrong passwords have closed, and what was wrong may be right now.
        # The password is set, whatever becomes of this: what is remembered of the old one is void.
        with suppress(NoAnswer):
            await self._locks.forget(user.id)

    async def failures(self, localpart: str) -> int:
        """Return how many wrong passwords in a row stand against an account, in its worst lane.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        lanes = await self._locks.lanes(
            user.id, since=user.password_changed_at, unlocked=user.unlocked_at
        )
        return max((lane.failures for lane in lanes), default=0)

    async def unlock(self, localpart: str) -> bool:
        """Forget an account's wrong passwords. Returns False if there were none.

        Where nobody can tell at the moment it is done all the same, and the answer is True.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        return await self._locks.unlock(
            user.id,
            act=self._act(Event.USER_UNLOCKED, user),
            now=self._clock.now(),
            unlocked=user.unlocked_at,
        )

    async def set_state(self, localpart: str, state: UserState) -> None:
        """Enable or disable an account. Its password stays as it is.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        event = Event.USER_DISABLED if state is UserState.DISABLED else Event.USER_ENABLED
        changed = await self._users.set_state(user.id, state, act=self._act(event, user))
        _require(changed, localpart)

    async def edit(self, localpart: str, edit: Edit) -> bool:
        """Change what is known of a person. Returns False if it was so already.

        Raises:
            InvalidInput: a name, an address or a number is not acceptable, or not there.
            AlreadyTaken: another account has an address or a number.
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        # Names of fields only: the trail outlives the account.
        act = self._act(Event.USER_EDITED, user, {"changed": " ".join(edit.asked())})
        # Decided on what is there then, and not on what was there a moment ago.
        changed = await self._users.edit(user.id, edit.applied, act=act)
        _require(changed is not None, localpart)
        return bool(changed)

    async def sign_ins(self, localpart: str, *, limit: int) -> Sequence[SignIn]:
        """Return the last sign-ins of an account that homeservers have reported.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        return await self._sign_ins.recent(user.id, limit=limit)

    async def sign_out(self, localpart: str) -> None:
        """End every session of an account, on every homeserver that follows.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        act = self._act(Event.USER_SIGNED_OUT, user)
        _require(await self._users.sign_out(user.id, now=self._clock.now, act=act), localpart)

    async def delete(self, localpart: str) -> None:
        """Remove an account for good. Its localpart stays retired: see `errors.NameRetired`.

        Raises:
            UserNotFound: nobody has this localpart.
        """
        user = await self.get(localpart)
        act = self._act(Event.USER_DELETED, user)
        _require(await self._users.delete(user.id, now=self._clock.now, act=act), localpart)
        # The account is gone, and nobody asks for what is remembered of it.
        with suppress(NoAnswer):
            await self._locks.forget(user.id)

    async def _add(
        self,
        new: NewUser,
        password: Password | PasswordRecord | None,
        *,
        reuse_name: bool,
        event: Event,
    ) -> User:
        user = self._canonical(new)
        record = None
        if password is not None:
            record = await self._record_of(password, user)
            user = replace(user, password_changed_at=user.created_at)
        details = _about_password(password) | {
            "admin": user.admin,
            "state": user.state.value,
            "reused_name": reuse_name,
        }
        await self._users.add(
            user, record, reuse_name=reuse_name, act=self._act(event, user, details)
        )
        return user

    def _act(self, event: Event, user: User, details: Mapping[str, Fact] | None = None) -> Entry:
        return self._by.act(
            event,
            at=self._clock.now(),
            user_id=user.id,
            localpart=user.localpart,
            details=details or {},
        )

    def _canonical(self, new: NewUser) -> User:
        return new.canonical(user_id=UserId(self._new_id()), created_at=self._clock.now())

    def _is_there(self, there: Credentials, wanted: User, record: PasswordRecord | None) -> bool:
        if not is_same(there=there.user, wanted=wanted):
            return False
        if there.record is None or record is None:
            return there.record is record
        return there.record == record or not self._hasher.outdated(there.record)

    async def _record_of(self, password: Password | PasswordRecord, user: User) -> PasswordRecord:
        if isinstance(password, PasswordRecord):
            return password
        await self._policy.examine(password, about=Context.of(user))
        return await self._hasher.hash(password)


def _about_password(password: Password | PasswordRecord | None) -> dict[str, Fact]:
    """Say where a password came from: never what it is, nor of which length or hash."""
    match password:
        case None:
            return {"password": "none"}
        case Password():
            return {"password": "given"}
        case PasswordRecord():
            return {"password": "hash of another program"}


def _require(found: bool, localpart: str) -> None:  # noqa: FBT001 - the answer of a store
    """Somebody else may have deleted the account between the look and the change."""
    if not found:
        raise UserNotFound(localpart)
