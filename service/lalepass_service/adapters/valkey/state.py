"""What was read of an account, and what a process remembers of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lalepass_service.adapters.valkey import names
from lalepass_service.core.softlock import FRESH, Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """As of when something is known."""

    epoch: bytes | None
    """Of the data."""
    since: datetime | None
    """Of the password."""
    known_at: datetime | None = None
    """When the source of the lane was known."""
    unlocked: datetime | None = None
    """When an operator last unlocked the account."""


@dataclass(frozen=True, slots=True)
class State:
    """What was read of an account."""

    key: str
    fields: Mapping[bytes, bytes]
    """Those that were asked for and are there."""
    since: datetime | None
    """The password that a guess is about, as far as that is known."""
    unlocked: datetime | None = None
    """When the account was last unlocked, as far as that is known."""

    @property
    def set_at(self) -> datetime | None:
        """When the password was set that all of it is of."""
        return names.digits(self.fields.get(names.PASSWORD_SET))

    @property
    def unlocked_at(self) -> datetime | None:
        """When the account was unlocked that all lanes are of."""
        return names.digits(self.fields.get(names.UNLOCKED))

    @property
    def opened(self) -> bool:
        """Whether all lanes are from before an unlock that nobody has told Valkey of."""
        at = self.unlocked_at
        return self.unlocked is not None and (at is None or at < self.unlocked)

    @property
    def void(self) -> bool:
        """Whether all of it is of an older password."""
        return self.since is not None and (self.set_at is None or self.set_at < self.since)

    @property
    def ahead(self) -> bool:
        """Whether all of it is of a newer password."""
        return self.since is not None and self.set_at is not None and self.since < self.set_at

    @property
    def password_set(self) -> bytes:
        """What `p` is to be."""
        if self.void and self.since is not None:
            return b"%d" % names.micros(self.since)
        return self.fields.get(names.PASSWORD_SET, b"")

    @property
    def unlock(self) -> bytes:
        """What `u` is to be."""
        if self.opened and self.unlocked is not None:
            return b"%d" % names.micros(self.unlocked)
        return self.fields.get(names.UNLOCKED, b"")

    def view(self, *, epoch: bytes | None, known_at: datetime | None) -> View:
        """Return as of when it is known."""
        since = self.since if self.void else self.set_at
        unlocked = self.unlocked if self.opened else self.unlocked_at
        return View(epoch=epoch, since=since, known_at=known_at, unlocked=unlocked)

    def lane(self, lane: bytes) -> Lane:
        """Return a lane that was asked for.

        Raises:
            names.Unreadable: it is of no known form.
        """
        value = self.fields.get(names.lane_field(lane))
        if value is None or self.void or self.opened:
            return FRESH
        return names.unpack(value)[0]

    def known_at(self, source: bytes) -> datetime | None:
        """Return when a source was last known, if it was asked for and is."""
        if not source or self.void:
            return None
        return names.digits(self.fields.get(names.known_field(source)))


class Memory(Protocol):
    """What this process knows of lanes, and Valkey perhaps does not: see `local`."""

    def merged(self, account: str, lane: bytes, there: Lane, view: View) -> Lane:
        """Return what is there, with what is missing of it."""
        ...

    def saw(self, account: str, lane: bytes, there: Lane, view: View) -> None:
        """Take down what is there now."""
        ...


class NoMemory:
    """Knows nothing. Implements `Memory`."""

    def merged(self, account: str, lane: bytes, there: Lane, view: View) -> Lane:
        """Return what is there."""
        del account, lane, view
        return there

    def saw(self, account: str, lane: bytes, there: Lane, view: View) -> None:
        """Forget it."""
