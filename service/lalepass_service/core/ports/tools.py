"""What is used beside the stores: a clock, the slow hash, lists, a trail."""

from datetime import datetime
from typing import Protocol

from lalepass_service.core.audit import Entry
from lalepass_service.core.model import (
    Password,
    PasswordRecord,
)


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Return the time, aware and in UTC."""
        ...


class Trail(Protocol):
    """Where checks leave their trail. It never makes anybody wait and never fails."""

    def record(self, entry: Entry) -> None:
        """Take an entry, to be written soon."""
        ...


class Throttle(Protocol):
    """Counts requests by source and by caller. It decides at once: nobody waits for a count."""

    def hit(self, *, source: str | None, caller: str) -> None:
        """Count a request.

        Raises:
            Throttled: there were too many.
        """
        ...


class Hasher(Protocol):
    """The slow hash. Runs elsewhere, admits a bounded number, and refuses the rest at once."""

    async def hash(self, password: Password) -> PasswordRecord:
        """Make a record of a new password, with a fresh salt.

        Raises:
            Overloaded: more hashes wait than can be done in time.
        """
        ...

    async def verify(
        self, password: Password, record: PasswordRecord | None, *, account: str
    ) -> bool:
        """Say whether the record was made of this password.

        Without a record the same work is done on a decoy, in the same slots, and the answer is
        False: an account that does not exist must not be told by its time. `account` chooses the
        decoy, so that one name always takes the time of one scheme: the id of an account that is
        there, what was typed otherwise.

        Raises:
            Overloaded: more hashes wait than can be done in time.
            UnreadableRecord: the record is broken, or would cost more than is allowed.
        """
        ...

    def has_room(self) -> bool:
        """Say whether a hash could begin at once."""
        ...

    def outdated(self, record: PasswordRecord) -> bool:
        """Say whether the password should be hashed anew, now that it is known."""
        ...


class Blocklist(Protocol):
    """Passwords that nobody may choose any more, on this machine."""

    def contains(self, text: str) -> bool:
        """Say whether exactly this text, which is in NFC, is on the list.

        Raises:
            BlocklistUnavailable: the list can't be read any more.
        """
        ...


class BreachRange(Protocol):
    """A host that knows stolen passwords, asked without telling it which one is meant."""

    async def contains(self, password: Password) -> bool:
        """Say whether the host knows the password, which is in NFC.

        Raises:
            BreachRangeUnavailable: it gave no answer.
        """
        ...
