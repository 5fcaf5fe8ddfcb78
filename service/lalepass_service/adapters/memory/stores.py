"""Accounts and tokens in dictionaries."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from lalepass_service.adapters.memory.followers import MemoryFollowers
from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import (
    AlreadyTaken,
    NameRetired,
    NoAnswer,
    TooManyTokens,
)
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import (
    A_MOMENT,
    Caller,
    Credentials,
    PasswordRecord,
    User,
    UserId,
    UserState,
)


class MemoryUsers:
    """Accounts in a dictionary. Implements `core.ports.Users`."""

    def __init__(self) -> None:
        self._accounts: dict[UserId, Credentials] = {}
        self._retired: set[str] = set()
        self.acts: list[Entry] = []
        """What was written into the trail."""
        self.followers = MemoryFollowers()
        self.failure: NoAnswer | None = None
        """Raised by every call while it is set, such as StoreUnavailable."""

    async def add(
        self, user: User, record: PasswordRecord | None, *, reuse_name: bool, act: Entry
    ) -> None:
        """Store a new account.

        Raises:
            AlreadyTaken: another account has its localpart, an e-mail address or a phone number.
            NameRetired: the localpart belonged to a deleted account, and not `reuse_name`.
        """
        self._answer()
        if user.localpart in self._retired and not reuse_name:
            raise NameRetired(user.localpart)
        if what := _taken(user, (each.user for each in self._accounts.values())):
            raise AlreadyTaken(what)
        known = user.localpart in self._retired
        self._retired.discard(user.localpart)
        stored = replace(
            user,
            password_changed_at=(user.password_changed_at or user.created_at) if record else None,
            password_must_change=user.password_must_change and record is not None,
            password_expires_at=user.password_expires_at if record else None,
        )
        self._accounts[user.id] = _with(stored, record)
        self.acts.append(act)
        if known or user.state is not UserState.ACTIVE:
            self.followers.mark(user.id, user.localpart)

    async def find(self, identifier: Identifier) -> User | None:
        """Return the account, if there is one."""
        found = await self.credentials(identifier)
        return found.user if found else None

    async def credentials(self, identifier: Identifier) -> Credentials | None:
        """Return what a check needs, if there is such an account."""
        self._answer()
        for account in self._accounts.values():
            if _has(account.user, identifier):
                return account
        return None

    async def look_up(
        self,
        identifier: Identifier,
        *,
        near: str,  # noqa: ARG002 - a name that nobody has takes the same time here
    ) -> Credentials | None:
        """Return what a check needs. Implements `adapters.entrance.Lookup`."""
        return await self.credentials(identifier)

    async def page(
        self, *, after: str | None, limit: int, state: UserState | None
    ) -> tuple[User, ...]:
        """Return up to `limit` accounts behind `after`, in the order of their localparts."""
        self._answer()
        users = sorted((each.user for each in self._accounts.values()), key=lambda u: u.localpart)
        wanted = [
            user
            for user in users
            if (after is None or user.localpart > after) and state in {None, user.state}
        ]
        return tuple(wanted[:limit])

    async def set_password(
        self,
        user_id: UserId,
        record: PasswordRecord,
        *,
        changed_at: datetime,
        must_change: bool = False,
        expires_at: datetime | None = None,
        act: Entry,
        sign_out: Callable[[], datetime] | None = None,
    ) -> bool:
        """Replace the password. Returns False if there is no such account (any more)."""
        self._answer()
        account = self._accounts.get(user_id)
        if account is None:
            return False
        before = account.user.password_changed_at
        user = replace(
            account.user,
            password_changed_at=changed_at
            if before is None
            else max(changed_at, before + A_MOMENT),
            password_must_change=must_change,
            password_expires_at=expires_at,
        )
        self._accounts[user_id] = _with(user, record)
        self.acts.append(act)
        if sign_out is not None:
            self.followers.order(user_id, user.localpart, at=sign_out())
        return True

    async def replace_record(
        self, user_id: UserId, *, old: PasswordRecord, new: PasswordRecord
    ) -> bool:
        """Put a fresh record of the same password in the place of `old`, if that is still there."""
        self._answer()
        account = self._accounts.get(user_id)
        if account is None or account.record is None or account.record.stored != old.stored:
            return False
        self._accounts[user_id] = _with(account.user, new)
        return True

    async def schemes(self) -> dict[str, int]:
        """Return how many records there are of each scheme."""
        self._answer()
        records = (each.record for each in self._accounts.values())
        return dict(Counter(record.scheme for record in records if record))

    async def set_state(self, user_id: UserId, state: UserState, *, act: Entry) -> bool:
        """Enable or disable. Returns False if there is no such account (any more)."""
        self._answer()
        account = self._accounts.get(user_id)
        if account is None:
            return False
        if account.user.state is not state:
            self._accounts[user_id] = replace(account, user=replace(account.user, state=state))
            self.acts.append(act)
            self.followers.mark(user_id, account.user.localpart)
        return True

    async def edit(
        self, user_id: UserId, change: Callable[[User], User], *, act: Entry
    ) -> bool | None:
        """Change what is known of a person. Returns whether it is another now; None: no account.

        Raises:
            AlreadyTaken: another account has an e-mail address or a phone number.
        """
        self._answer()
        account = self._accounts.get(user_id)
        if account is None:
            return None
        user = change(account.user)
        others = (each.user for each in self._accounts.values() if each.user.id != user_id)
        if what := _taken(user, others):
            raise AlreadyTaken(what)
        if user == account.user:
            return False
        self._accounts[user_id] = replace(account, user=user)
        self.acts.append(act)
        self.followers.mark(user_id, user.localpart)
        return True

    async def sign_out(self, user_id: UserId, *, now: Callable[[], datetime], act: Entry) -> bool:
        """Order that every session ends. Returns False if there is no such account."""
        self._answer()
        account = self._accounts.get(user_id)
        if account is None:
            return False
        self.followers.order(user_id, account.user.localpart, at=now())
        self.acts.append(act)
        return True

    async def delete(self, user_id: UserId, *, now: Callable[[], datetime], act: Entry) -> bool:
        """Remove the account; keep its localpart as retired."""
        self._answer()
        account = self._accounts.pop(user_id, None)
        if account is None:
            return False
        self._retired.add(account.user.localpart)
        self.acts.append(act)
        self.followers.order(user_id, account.user.localpart, at=now())
        return True

    def by_id(self, user_id: UserId) -> User | None:
        """Return an account, for the fake of the feed."""
        account = self._accounts.get(user_id)
        return account.user if account else None

    def locked(self) -> list[str]:
        """Return the names that nobody may use, for the fake of the feed."""
        users = (each.user for each in self._accounts.values())
        locked = {user.localpart for user in users if user.state is not UserState.ACTIVE}
        return sorted(locked | self._retired)

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemoryCallers:
    """Tokens in a dictionary. Implements `core.ports.Callers`."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[Caller, bytes]] = {}
        self.acts: list[Entry] = []
        """What was written into the trail."""
        self.failure: NoAnswer | None = None
        """Raised by every call while it is set, such as StoreUnavailable."""

    async def add(self, caller: Caller, digest: bytes, *, limit: int, act: Entry) -> None:
        """Store a new token.

        Raises:
            TooManyTokens: the name has `limit` live ones already.
        """
        self._answer()
        live = sum(
            other.name == caller.name and other.revoked_at is None
            for other, _ in self._tokens.values()
        )
        if live >= limit:
            raise TooManyTokens(name=caller.name, limit=limit)
        self._tokens[caller.token_id] = (caller, digest)
        self.acts.append(act)

    async def find(self, token_id: str) -> tuple[Caller, bytes] | None:
        """Return a token and its digest, also when it is revoked."""
        self._answer()
        return self._tokens.get(token_id)

    async def all(self) -> tuple[Caller, ...]:
        """Return every token, the oldest first."""
        self._answer()
        callers = (caller for caller, _ in self._tokens.values())
        return tuple(sorted(callers, key=lambda each: (each.created_at, each.token_id)))

    async def revoke(self, token_id: str, *, at: datetime, act: Entry) -> bool:
        """Revoke a token; doing it again changes nothing. Returns False if there is none."""
        self._answer()
        if token_id not in self._tokens:
            return False
        caller, digest = self._tokens[token_id]
        if caller.revoked_at is None:
            self._tokens[token_id] = (replace(caller, revoked_at=at), digest)
            self.acts.append(act)
        return True

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure


def _with(user: User, record: PasswordRecord | None) -> Credentials:
    """Return an account as it will be read."""
    kept = replace(record, stored=record.phc) if record else None
    scheme = record.scheme if record else None
    return Credentials(user=replace(user, password_scheme=scheme), record=kept)


def _taken(new: User, others: Iterable[User]) -> str | None:
    """Return the first thing of the new account that one of the others has."""
    users = tuple(others)
    clashes = {
        "id": any(new.id == other.id for other in users),
        "user name": any(new.localpart == other.localpart for other in users),
        "e-mail address": any(set(new.emails) & set(other.emails) for other in users),
        "phone number": any(set(new.phones) & set(other.phones) for other in users),
    }
    return next((what for what, clash in clashes.items() if clash), None)


def _has(user: User, identifier: Identifier) -> bool:
    match identifier:
        case ByLocalpart(localpart):
            return user.localpart == localpart
        case ByEmail(address):
            return address in user.emails
        case ByPhone(number):
            return number in user.phones
