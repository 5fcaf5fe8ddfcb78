"""Guesses without an account that is looked up first."""

from datetime import datetime

from lalepass_service.core.errors import Throttled
from lalepass_service.core.ports import SoftLocks
from lalepass_service.core.softlock import Bid, Ticket, Wait


async def debit(
    locks: SoftLocks, account: str, *, source: bytes, guess: bytes, now: datetime
) -> Ticket:
    """Pay for a guess, as an entrance does.

    Raises:
        Throttled: the lane has to wait, or is closed.
    """
    paid = await locks.pay(Bid(account=account, guess=guess, source=source), now=now)
    if isinstance(paid, Wait):
        raise Throttled(retry_after=paid.seconds)
    return paid
