"""A clock that stands still, and a hash without cost."""

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Final

from lalepass_service.core.errors import (
    NoAnswer,
    Overloaded,
    UnreadableRecord,
)
from lalepass_service.core.model import (
    NormalForm,
    Password,
    PasswordRecord,
)
from lalepass_service.core.policy import normal_form

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


def _fingerprint(password: Password) -> str:
    # surrogatepass: a lone surrogate is a wrong password here, too, and no error
    text = normal_form(password).reveal()
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
