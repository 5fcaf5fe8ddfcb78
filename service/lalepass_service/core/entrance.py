"""The first half of a check: find the account and pay for the guess."""

from collections.abc import Callable
from datetime import datetime

from lalepass_service.core.identifiers import Identifier
from lalepass_service.core.model import Credentials
from lalepass_service.core.ports import SoftLocks, Users
from lalepass_service.core.softlock import Bid, Ticket


class StepByStep:
    """Implements `ports.Entrance` over any two stores, with a trip to each."""

    def __init__(self, *, users: Users, locks: SoftLocks) -> None:
        self._users = users
        self._locks = locks

    async def enter(
        self,
        identifier: Identifier,
        *,
        bid: Callable[[Credentials | None], Bid | None],
        near: str,  # noqa: ARG002 - these stores take the same time for a name that nobody has
        now: datetime,
    ) -> Ticket | None:
        """Look the account up, and pay for the guess that `bid` makes of it."""
        wanted = bid(await self._users.credentials(identifier))
        if wanted is None:
            return None
        return await self._locks.debit(
            wanted.account, source=wanted.source, guess=wanted.guess, now=now
        )
