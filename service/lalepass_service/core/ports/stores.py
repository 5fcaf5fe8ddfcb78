"""What is kept: accounts, tokens, lanes; and how a check comes to them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from lalepass_service.core.audit import Entry
from lalepass_service.core.identifiers import Identifier
from lalepass_service.core.model import (
    Caller,
    Credentials,
    PasswordRecord,
    User,
    UserId,
    UserState,
)
from lalepass_service.core.softlock import Bid, Lane, Ticket, Wait


class Users(Protocol):
    """Where accounts are kept.

    Every method may raise StoreUnavailable, and a change that was acknowledged by returning is
    durable, and in the feed (`changes.Changes`) if a follower has to know of it. Where an act is
    given, it is written into the trail in one step with the change: there is never one of them
    without the other, and no entry where nothing was changed.
    """

    async def add(
        self, user: User, record: PasswordRecord | None, *, reuse_name: bool, act: Entry
    ) -> None:
        """Store a new account.

        Raises:
            AlreadyTaken: another account has its localpart, an e-mail address or a phone number.
            NameRetired: the localpart belonged to a deleted account, and not `reuse_name`.
        """
        ...

    async def find(self, identifier: Identifier) -> User | None:
        """Return the account, if there is one. The identifier is canonical."""
        ...

    async def credentials(self, identifier: Identifier) -> Credentials | None:
        """Return what a check needs, if there is such an account."""
        ...

    async def page(
        self, *, after: str | None, limit: int, state: UserState | None
    ) -> Sequence[User]:
        """Return up to `limit` accounts in the order of their localparts (by code point).

        Only those behind `after`, and only those in `state` unless that is None.
        """
        ...

    async def set_password(
        self,
        user_id: UserId,
        record: PasswordRecord,
        *,
        changed_at: datetime,
        must_change: bool = False,
        expires_at: datetime | None = None,
        act: Entry,
        sign_out: "Callable[[], datetime] | None" = None,
    ) -> bool:
        """Replace the password, and on what terms it is given.

        With `sign_out`, order as well that every session ends: it tells the time, as that of
        `sign_out` the method.

        Returns False if there is no such account (any more).
        """
        ...

    async def replace_record(
        self, user_id: UserId, *, old: PasswordRecord, new: PasswordRecord
    ) -> bool:
        """Put a fresh record of the same password in the place of the one that was read.

        Compares and swaps in one step, by `old.stored`: whatever was changed since `old` was
        read stays, and the answer is False. The password itself has not changed, so neither does
        the time of its last change.
        """
        ...

    async def schemes(self) -> Mapping[str, int]:
        """Return how many records there are of each scheme, among all or enough of them."""
        ...

    async def set_state(self, user_id: UserId, state: UserState, *, act: Entry) -> bool:
        """Enable or disable. Returns False if there is no such account (any more)."""
        ...

    async def edit(
        self, user_id: UserId, change: Callable[[User], User], *, act: Entry
    ) -> bool | None:
        """Change the display name, the addresses, the numbers and whether it is an administrator.

        `change` is called within the step, with the account as it is then. Returns whether it is
        another one now; None if there is no such account (any more).

        Raises:
            AlreadyTaken: another account has an e-mail address or a phone number.
        """
        ...

    async def sign_out(self, user_id: UserId, *, now: "Callable[[], datetime]", act: Entry) -> bool:
        """Order that every session ends: see `changes.SignOutOrders`.

        `now` tells the time of the order. It is called within the step, as late as can be: a
        session that begins after this time is spared, and until the step is done others read what
        was before it.

        Returns False if there is no such account (any more).
        """
        ...

    async def delete(self, user_id: UserId, *, now: "Callable[[], datetime]", act: Entry) -> bool:
        """Remove the account with all that is known of the person, and order that sessions end.

        `now` is as that of `sign_out`.

        Only the localpart is kept, as retired. Returns False if there is no such account any
        more.
        """
        ...


class Callers(Protocol):
    """Where tokens are kept: a digest each, never the token.

    Every method may raise StoreUnavailable. Acts are written as `Users` does.
    """

    async def add(self, caller: Caller, digest: bytes, *, limit: int, act: Entry) -> None:
        """Store a new token.

        Raises:
            TooManyTokens: the name has `limit` live ones already.
        """
        ...

    async def find(self, token_id: str) -> tuple[Caller, bytes] | None:
        """Return a token and its digest, also when it is revoked."""
        ...

    async def all(self) -> Sequence[Caller]:
        """Return every token, the oldest first."""
        ...

    async def revoke(self, token_id: str, *, at: datetime, act: Entry) -> bool:
        """Revoke a token; doing it again changes nothing.

        Returns False if there is no such token.
        """
        ...


class SoftLocks(Protocol):
    """Where guesses are paid for: `softlock`'s lanes, each change atomic across processes.

    Every method but `settle` may raise StoreUnavailable, and what was acknowledged by returning is
    durable: a counter is never lower than was said. An account is a user's id, or a digest
    of the name and `NOBODY` if nobody has it: then it is throttled like one that somebody has.
    """

    async def pay(self, bid: Bid, *, now: datetime) -> Ticket | Wait:
        """Pay for a guess before it is made, if it may be made."""
        ...

    def settle(self, ticket: Ticket, *, user_id: UserId, now: datetime) -> None:
        """The guess was right: begin anew in its lane, and know its source from now on.

        Returns at once and never fails. It is done before whatever is asked of these locks later;
        other processes see it a moment after. If it is lost, with the process or the database,
        the account is held to a guess that it need not have paid for, and nobody gets one free.
        """
        ...

    async def charge(self, ticket: Ticket, *, now: datetime) -> None:
        """A repeated guess was wrong: debit it now if nobody's debit stands for it any more."""
        ...

    async def give_back(self, ticket: Ticket, *, now: datetime) -> None:
        """The guess could not be verified: undo the debit."""
        ...

    async def lanes(
        self, account: str, *, since: datetime | None = None, unlocked: datetime | None = None
    ) -> Sequence[Lane]:
        """Return what is remembered of wrong passwords, for every lane that has any.

        `since` and `unlocked` are those of a `Bid`.
        """
        ...

    async def unlock(
        self,
        account: str,
        *,
        act: Entry | None,
        now: datetime,
        unlocked: datetime | None = None,
    ) -> bool:
        """Forget all wrong passwords. Returns False if there were none.

        It is a fact of the account as well (`User.unlocked_at`), in one step with the act: so it
        counts also where lanes are kept in another store, which need not answer. Then nobody knows
        whether there were any, and the answer is True.

        Args:
            account: one that somebody has.
            act: written as `Users` does; None where this is a part of another one.
            now: the time.
            unlocked: when it was last unlocked, as far as that is known.
        """
        ...

    async def forget(self, account: str) -> None:
        """Forget wrong passwords and known sources: the password is another one, or all is gone.

        Known sources, too: who was right with the old password may have been a thief.
        """
        ...

    async def sweep(self, *, before: datetime) -> int:
        """Forget sources with their lanes, unless used since, and names that are too many.

        The lane that everybody shares at an account stays, closed or not: who could empty it by
        waiting would have its guesses again and again. So does that of a name that nobody has, or
        waiting would tell the two apart; but of those that were not used since, only the newest
        (`NAMES_KEPT`, or some more). Returns how many were forgotten.
        """
        ...


class Entrance(Protocol):
    """Finds an account and pays for a guess at it, in as few trips as its store allows."""

    async def enter(
        self,
        identifier: Identifier,
        *,
        bid: "Callable[[Credentials | None], Bid | None]",
        near: str,
        now: datetime,
    ) -> Ticket | None:
        """Look the account up, and pay for the guess that `bid` makes of it.

        Looking up a name that nobody has takes the same work.

        Args:
            identifier: canonical.
            bid: told what there is of the account, says what is to be paid for; None for nothing.
                May be called on another thread, and more than once, of which the last counts.
            near: hexadecimal digits that belong to the name and that nobody can foretell: which
                account to look at instead when nobody has the name.
            now: the time.

        Returns:
            The ticket, or None if nothing was to be paid for.

        Raises:
            Throttled: the guess has to wait.
            StoreUnavailable: the store did not answer.
        """
        ...
