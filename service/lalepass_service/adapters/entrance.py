"""Find the account in one store and pay for the guess in another.

Where both are one SQLite database, `sql.entrance` does it in one transaction. Everywhere else it
takes a trip to each, in this order: what is to be paid for is known only when the account is. An
account that is changed between the two is checked as it was read, like one that is changed while
the hash runs.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from lalepass_service.core.errors import Throttled
from lalepass_service.core.identifiers import Identifier
from lalepass_service.core.model import Credentials
from lalepass_service.core.ports import SoftLocks
from lalepass_service.core.softlock import Bid, Ticket, Wait


class Lookup(Protocol):
    """Finds accounts, in the same time whether there is one or not."""

    async def look_up(self, identifier: Identifier, *, near: str) -> Credentials | None:
        """Return what a check needs, if there is such an account.

        A record that does not open is told in `Credentials.fault` and not raised. `near` is of
        `Entrance.enter`: it chooses the account to read instead, and to forget, where nobody has
        the name.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...


class StagedEntrance:
    """Implements `core.ports.Entrance` over two stores, with a trip to each."""

    def __init__(self, lookup: Lookup, locks: SoftLocks) -> None:
        self._lookup = lookup
        self._locks = locks

    async def enter(
        self,
        identifier: Identifier,
        *,
        bid: Callable[[Credentials | None], Bid | None],
        near: str,
        now: datetime,
    ) -> Ticket | None:
        """Look the account up, and pay for the guess that `bid` makes of it.

        Raises:
            Throttled: the lane has to wait, or is closed.
            StoreUnavailable: one of the stores did not answer. Nothing was paid for if it is the
                first.
        """
        wanted = bid(await self._lookup.look_up(identifier, near=near))
        if wanted is None:
            return None
        paid = await self._locks.pay(wanted, now=now)
        if isinstance(paid, Wait):
            raise Throttled(retry_after=paid.seconds)
        return paid
