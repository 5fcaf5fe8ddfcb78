"""Fakes that keep state: everything the service needs of the outside, without an outside.

They can be questioned (`InstantHasher.calls`) and told to fail (`failure`), which beats a mock
that has to be programmed for each test.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import (
    AlreadyTaken,
    NameRetired,
    NoAnswer,
    Overloaded,
    Throttled,
    TooManyTokens,
    UnreadableRecord,
)
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import (
    Caller,
    Credentials,
    NormalForm,
    Password,
    PasswordRecord,
    User,
    UserId,
    UserState,
)
from lalepass_service.core.policy import normal_form
from lalepass_service.core.softlock import (
    FRESH,
    KNOWN_FOR,
    Debited,
    Lane,
    Ticket,
    Wait,
    charge,
    debit,
    give_back,
)

if TYPE_CHECKING:
    from asyncio import Event

_PREFIX: Final = "$instant$"
_STALE: Final = "$instant$old$"


class FixedClock:
    """Stands still until it is set."""

    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self) -> datetime:
        """Return the time that was set last."""
        return self.time


class InstantHasher:
    """Hashes without cost and without security. Implements `core.ports.Hasher`."""

    def __init__(self) -> None:
        self.calls = 0
        """Hashes so far, those of decoys included."""
        self.full = False
        """Whether there is no room for a hash that can wait."""
        self.pause: Event | None = None
        """Held until this is set, if there is one."""
        self.fail_next = 0
        """How many of those that are held are turned away then."""
        self.failure: NoAnswer | None = None
        """Raised by every call while it is set, such as Overloaded."""

    def has_room(self) -> bool:
        """Say that there is room, unless told otherwise by `full`."""
        return not self.full

    async def hash(self, password: Password) -> PasswordRecord:
        """Make a record.

        Raises:
            NoAnswer: `failure` is set.
        """
        self._work()
        return PasswordRecord(_PREFIX + _fingerprint(password))

    async def verify(
        self,
        password: Password,
        record: PasswordRecord | None,
        *,
        account: str,  # noqa: ARG002 - of the port; all decoys are alike here
    ) -> bool:
        """Compare; without a record, count the call all the same.

        Raises:
            NoAnswer: `failure` is set.
            UnreadableRecord: the record is not of this hasher.
        """
        self._work()
        if self.pause is not None:
            await self.pause.wait()
        if self.fail_next:
            self.fail_next -= 1
            raise Overloaded(retry_after=1)
        if record is None:
            return False
        if not record.phc.startswith(_PREFIX):
            raise UnreadableRecord("it is not of the instant hasher")
        # the second prefix makes a record that wants to be renewed
        return record.phc in {_PREFIX + _fingerprint(password), _STALE + _fingerprint(password)}

    def stale(self, password: Password, form: NormalForm = NormalForm.NFC) -> PasswordRecord:
        """Make a record as an older version of this hasher would have made it."""
        return PasswordRecord(_STALE + _fingerprint(password), form=form, scheme="instant,old")

    def outdated(self, record: PasswordRecord) -> bool:
        """Say whether it is of the older version, or of another normal form than ours."""
        return record.phc.startswith(_STALE) or record.form is not NormalForm.NFC

    def _work(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.calls += 1


class MemoryUsers:
    """Accounts in a dictionary. Implements `core.ports.Users`."""

    def __init__(self) -> None:
        self._accounts: dict[UserId, Credentials] = {}
        self._retired: set[str] = set()
        self.failure: NoAnswer | None = None
        """Raised by every call while it is set, such as StoreUnavailable."""

    async def add(self, user: User, record: PasswordRecord | None, *, reuse_name: bool) -> None:
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
        self._retired.discard(user.localpart)
        stored = replace(
            user,
            password_changed_at=(user.password_changed_at or user.created_at) if record else None,
            password_must_change=user.password_must_change and record is not None,
            password_expires_at=user.password_expires_at if record else None,
        )
        self._accounts[user.id] = _with(stored, record)

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
    ) -> bool:
        """Replace the password. Returns False if there is no such account (any more)."""
        self._answer()
        account = self._accounts.get(user_id)
        if account is None:
            return False
        user = replace(
            account.user,
            password_changed_at=changed_at,
            password_must_change=must_change,
            password_expires_at=expires_at,
        )
        self._accounts[user_id] = _with(user, record)
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

    async def set_state(self, user_id: UserId, state: UserState) -> bool:
        """Enable or disable. Returns False if there is no such account (any more)."""
        self._answer()
        account = self._accounts.get(user_id)
        if account is None:
            return False
        self._accounts[user_id] = replace(account, user=replace(account.user, state=state))
        return True

    async def delete(self, user_id: UserId, *, deleted_at: datetime) -> bool:  # noqa: ARG002 - of the port; nothing reads it yet
        """Remove the account; keep its localpart as retired."""
        self._answer()
        account = self._accounts.pop(user_id, None)
        if account is None:
            return False
        self._retired.add(account.user.localpart)
        return True

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemoryCallers:
    """Tokens in a dictionary. Implements `core.ports.Callers`."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[Caller, bytes]] = {}
        self.failure: NoAnswer | None = None
        """Raised by every call while it is set, such as StoreUnavailable."""

    async def add(self, caller: Caller, digest: bytes, *, limit: int) -> None:
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

    async def find(self, token_id: str) -> tuple[Caller, bytes] | None:
        """Return a token and its digest, also when it is revoked."""
        self._answer()
        return self._tokens.get(token_id)

    async def all(self) -> tuple[Caller, ...]:
        """Return every token, the oldest first."""
        self._answer()
        callers = (caller for caller, _ in self._tokens.values())
        return tuple(sorted(callers, key=lambda each: (each.created_at, each.token_id)))

    async def revoke(self, token_id: str, *, at: datetime) -> bool:
        """Revoke a token; doing it again changes nothing. Returns False if there is none."""
        self._answer()
        if token_id not in self._tokens:
            return False
        caller, digest = self._tokens[token_id]
        self._tokens[token_id] = (replace(caller, revoked_at=caller.revoked_at or at), digest)
        return True

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure


def _with(user: User, record: PasswordRecord | None) -> Credentials:
    """Return an account as it will be read."""
    kept = replace(record, stored=record.phc) if record else None
    scheme = record.scheme if record else None
    return Credentials(user=replace(user, password_scheme=scheme), record=kept)


def _fingerprint(password: Password) -> str:
    # surrogatepass: a lone surrogate is a wrong password here, too, and no error
    text = normal_form(password).reveal()
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


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


class MemorySoftLocks:
    """Lanes in a dictionary. Implements `core.ports.SoftLocks`."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, bytes], tuple[Lane, datetime]] = {}
        self._known: dict[tuple[str, bytes], datetime] = {}
        self.failure: NoAnswer | None = None
        """Raised by every call while it is set, such as StoreUnavailable."""

    async def debit(self, account: str, *, source: bytes, guess: bytes, now: datetime) -> Ticket:
        """Pay for a guess before it is made.

        Raises:
            Throttled: the lane has to wait, or is closed.
        """
        self._answer()
        seen_at = self._known.get((account, source))
        lane = source if seen_at is not None and now - seen_at < KNOWN_FOR else b""
        decision = debit(self._lane(account, lane), guess=guess, now=now)
        if isinstance(decision, Wait):
            raise Throttled(retry_after=decision.seconds)
        if isinstance(decision, Debited):
            self._lanes[account, lane] = decision.lane, now
        paid = isinstance(decision, Debited)
        return Ticket(account=account, lane=lane, guess=guess, source=source, paid=paid)

    async def settle(self, ticket: Ticket, *, user_id: UserId, now: datetime) -> None:
        """The guess was right: begin anew in its lane, and know its source from now on."""
        self._answer()
        self._lanes.pop((ticket.account, ticket.lane), None)
        if ticket.source:
            self._known[user_id, ticket.source] = now

    async def give_back(self, ticket: Ticket, *, now: datetime) -> None:
        """The guess could not be verified: undo the debit."""
        self._answer()
        if ticket.paid:
            lane = give_back(self._lane(ticket.account, ticket.lane), guess=ticket.guess)
            self._lanes[ticket.account, ticket.lane] = lane, now

    async def charge(self, ticket: Ticket, *, now: datetime) -> None:
        """A repeated guess was wrong: debit it now if nobody's debit stands for it any more."""
        self._answer()
        lane = charge(self._lane(ticket.account, ticket.lane), guess=ticket.guess, now=now)
        self._lanes[ticket.account, ticket.lane] = lane, now

    async def lanes(self, account: str) -> tuple[Lane, ...]:
        """Return what is remembered of wrong passwords, for every lane that has any."""
        self._answer()
        found = sorted(key for key in self._lanes if key[0] == account)
        return tuple(self._lanes[key][0] for key in found)

    async def unlock(self, account: str) -> bool:
        """Forget all wrong passwords. Returns False if there were none."""
        self._answer()
        found = [key for key in self._lanes if key[0] == account]
        for key in found:
            del self._lanes[key]
        return bool(found)

    async def sweep(self, *, before: datetime) -> int:
        """Forget what nobody has used since; a fake has no accounts, so closed lanes stay."""
        self._answer()
        lanes = [
            key
            for key, (lane, changed_at) in self._lanes.items()
            if changed_at < before and not lane.closed
        ]
        sources = [key for key, seen_at in self._known.items() if seen_at < before]
        for key in lanes:
            del self._lanes[key]
        for key in sources:
            del self._known[key]
        return len(lanes) + len(sources)

    def _lane(self, account: str, lane: bytes) -> Lane:
        state, _ = self._lanes.get((account, lane), (FRESH, None))
        return state

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure


class NoThrottle:
    """Lets everything through, and counts. Implements `core.ports.Throttle`."""

    def __init__(self) -> None:
        self.hits: list[tuple[str | None, str]] = []
        self.failure: Throttled | None = None
        """Raised by every call while it is set."""

    def hit(self, *, source: str | None, caller: str) -> None:
        """Count a request."""
        self.hits.append((source, caller))
        if self.failure is not None:
            raise self.failure


class MemoryTrail:
    """Keeps the entries in a list. Implements `core.ports.Trail`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def record(self, entry: Entry) -> None:
        """Take an entry."""
        self.entries.append(entry)
