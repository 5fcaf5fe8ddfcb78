"""Is this the password of this account? What Lalepass exists for."""

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, cast

from lalepass_service.core.errors import LalepassError, NoAnswer, UnreadableRecord
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import (
    Credentials,
    Password,
    PasswordRecord,
    User,
    UserId,
    UserState,
)
from lalepass_service.core.ports import Clock, Hasher, Users
from lalepass_service.core.recent import RecentChecks

_log: Final = logging.getLogger(__name__)

_MAX_REPORTED: Final = 1000
"""Accounts whose broken records are in the log. With more of them, it is not about accounts."""


_MAX_LOOKS: Final = 3
"""Records of one account that a check verifies, one after the other, if it changes meanwhile."""


class Refusal(StrEnum):
    """Why not, as far as a caller may know. All but `CREDENTIALS` need the right password."""

    CREDENTIALS = "credentials"
    DISABLED = "disabled"
    PASSWORD_CHANGE_REQUIRED = "password_change_required"  # noqa: S105 - the name of a reason


@dataclass(frozen=True, slots=True)
class Accepted:
    """The password is right and the account may be used."""

    user: User
    from_cache: bool = False
    """Whether a moment ago it was found to be right, and so it was not hashed again."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No. That is an answer; what prevents an answer is raised."""

    reason: Refusal


Outcome = Accepted | Refused


class CredentialCheck:
    """Checks passwords against the user store."""

    def __init__(
        self, *, users: Users, hasher: Hasher, clock: Clock, recent: RecentChecks | None = None
    ) -> None:
        self._users = users
        self._hasher = hasher
        self._clock = clock
        # Not `or`: an empty one is false.
        self._recent = RecentChecks(seconds=0) if recent is None else recent
        self._renewing: set[UserId] = set()
        self._reported: set[UserId] = set()

    async def check(self, identifier: Identifier, password: Password) -> Outcome:
        """Decide about one password, without a look at how often somebody has guessed.

        Raises:
            NoAnswer: it could not be found out.
        """
        credentials = await self._users.credentials(identifier)
        return await self.decide(credentials, password, account=account_of(identifier, credentials))

    async def decide(
        self, credentials: Credentials | None, password: Password, *, account: str
    ) -> Outcome:
        """Decide about a password, given what is known of the account (see `account_of`).

        Every way through here that ends in no costs exactly one hash, so that time does not tell
        an unknown account from a known one, nor an account without a password from one with. Only
        who has the right password may pay for more: if it is changed in the same moment.

        Raises:
            NoAnswer: it could not be found out; an UnreadableRecord after the time of a hash.
        """
        hashed = False
        for _ in range(_MAX_LOOKS):
            if not self._was_right(credentials, password):
                hashed = True
                if not await self._matches(credentials, password, account=account):
                    return Refused(Refusal.CREDENTIALS)
            before = cast("Credentials", credentials)
            record = await self._renewed(before, password)
            credentials = await self._as_it_is_now(before)
            if credentials is not None and credentials.record == record:
                return self._ended(credentials, password, hashed=hashed)
        raise NoAnswer

    def _was_right(self, credentials: Credentials | None, password: Password) -> bool:
        """Say whether it was found to be right a moment ago, so that no hash is needed."""
        known = self._recent.knows(credentials, password)
        return known and self._record(credentials) is not None

    def _ended(self, credentials: Credentials, password: Password, *, hashed: bool) -> Outcome:
        """Say what the right password comes to, and remember who may come in with it."""
        outcome = _outcome(credentials.user)
        if isinstance(outcome, Accepted):
            if not hashed:
                return replace(outcome, from_cache=True)
            self._recent.remember(credentials, password)
        return outcome

    async def _matches(
        self, credentials: Credentials | None, password: Password, *, account: str
    ) -> bool:
        """Say whether the password is that of the account, for the price of a hash.

        Raises:
            NoAnswer: it could not be found out; an UnreadableRecord after the time of a hash.
        """
        record = self._record(credentials)
        try:
            matches = await self._hasher.verify(password, record, account=account)
        except UnreadableRecord as error:
            self._report(credentials, error)
            # It has cost less than others, and must not.
            await self._hasher.verify(password, None, account=account)
            raise
        if credentials is not None and credentials.fault is not None:
            unreadable = UnreadableRecord(credentials.fault)
            self._report(credentials, unreadable)
            raise unreadable
        return credentials is not None and matches

    async def _as_it_is_now(self, before: Credentials) -> Credentials | None:
        """Look once more, since a hash takes a while, and longer in a queue.

        Somebody may have changed the password meanwhile, and ordered that all sessions of before
        end: the one that would begin now would be newer than the order.

        Raises:
            NoAnswer: it could not be found out. No UnreadableRecord, which says that a guess may
                have been wrong: this one was not.
        """
        try:
            now = await self._users.credentials(ByLocalpart(before.user.localpart))
        except UnreadableRecord as error:
            self._report(before, error)
            raise NoAnswer from error
        return now if now is not None and now.user.id == before.user.id else None

    def _report(self, credentials: Credentials | None, error: UnreadableRecord) -> None:
        """Tell the operator, once for each account: a client that tries again fills no log."""
        user = credentials.user if credentials else None
        if user is None or user.id in self._reported or len(self._reported) >= _MAX_REPORTED:
            return
        self._reported.add(user.id)
        _log.error("%s (%s) can't log in: %s", user.localpart, user.id, error)

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

    async def _renewed(self, credentials: Credentials, password: Password) -> PasswordRecord | None:
        """Hash the password anew if its record is outdated. Whatever fails here fails in silence.

        Returns the record that is there now, unless somebody has changed it.

        The person has the right password, and the next login tries again. The price is one more
        hash, once in the life of a record, before the answer; a process does it once at a time for
        each account, and between processes the store's compare-and-swap lets one of them win.
        What was typed just now becomes the password, to the letter: where an old record had
        ignored a difference, as bcrypt does behind 72 bytes, the new one does not.
        """
        user_id, record = credentials.user.id, credentials.record
        gets_in = isinstance(_outcome(credentials.user), Accepted)
        if record is None or not gets_in or not self._hasher.outdated(record):
            return record
        if user_id in self._renewing or not self._hasher.has_room():
            # The person waits for the answer, and others for the slot. It has time until the next.
            return record
        self._renewing.add(user_id)
        try:
            with suppress(LalepassError):
                new = await self._hasher.hash(password)
                if await self._users.replace_record(user_id, old=record, new=new):
                    return new
        finally:
            self._renewing.discard(user_id)
        return record


def _outcome(user: User) -> Outcome:
    """Say what the right password comes to."""
    if user.state is UserState.DISABLED:
        return Refused(Refusal.DISABLED)
    if user.password_must_change:
        return Refused(Refusal.PASSWORD_CHANGE_REQUIRED)
    return Accepted(user)


def account_of(identifier: Identifier, credentials: Credentials | None) -> str:
    """Return what stands for an account, however it was named: its id, or what was typed."""
    if credentials is not None:
        return str(credentials.user.id)
    match identifier:
        case ByLocalpart(localpart):
            return f"name:{localpart}"
        case ByEmail(address):
            return f"email:{address}"
        case ByPhone(number):
            return f"phone:{number}"
