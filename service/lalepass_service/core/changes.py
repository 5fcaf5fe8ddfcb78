"""What followers are told of the accounts: how they are now, and whose sessions have to end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lalepass_service.core.model import User, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An account that has changed, at the place of its newest change."""

    seq: int
    """Its place in the feed. Places only grow; a newer change of the account leaves a gap."""
    user_id: UserId
    localpart: str
    user: User | None
    """The account as it is now; None when it is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOutOrder:
    """Every session of this account that is older than the order has to end."""

    seq: int
    """Its place among the orders. Places only grow."""
    id: str
    user_id: UserId
    localpart: str
    ordered_at: datetime
    """When it was written down, and not when somebody asked for it: see `ports.Users.sign_out`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the feed."""

    head: int
    """The place of the newest change of all; 0 if there was none yet. Read before the changes."""
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedNames:
    """Names that nobody may use, in the order of their code points."""

    head: int
    """As that of a stretch. Read before the names: what changes meanwhile is behind it."""
    localparts: Sequence[str]


class Changes(Protocol):
    """Where the feed is kept. It is written by the store of the accounts, with each change.

    Whoever reads a place sees every earlier one: there is no gap that is filled later. Every
    method may raise StoreUnavailable.
    """

    async def database_id(self) -> str:
        """Return the name of this database, made with it: small letters and digits."""
        ...

    async def head(self) -> int:
        """Return the place of the newest change; 0 if there was none yet. Quick."""
        ...

    async def behind(self, seq: int, *, limit: int) -> Stretch:
        """Return up to `limit` changes behind a place, the oldest first."""
        ...

    async def locked(self, *, after: str | None, limit: int) -> LockedNames:
        """Return up to `limit` names behind `after`: of accounts that are not active, or retired.

        The account of a retired name is deleted here, and still there on the homeserver.
        """
        ...


class SignOutOrders(Protocol):
    """Where orders are kept, one for each account: the newest covers the older ones.

    They are given by the store of the accounts. Every method may raise StoreUnavailable.
    """

    async def pending(self, caller: str, *, after: int = 0, limit: int) -> Sequence[SignOutOrder]:
        """Return up to `limit` orders that this caller has not acknowledged, the oldest first.

        Only those behind the place `after`.
        """
        ...

    async def acknowledge(self, ids: Sequence[str], *, caller: str) -> None:
        """Don't show these orders to this caller again. Ids that nobody knows are left out."""
        ...

    async def sweep(self, *, before: datetime) -> int:
        """Forget orders from before this time, done or not. Returns how many."""
        ...
