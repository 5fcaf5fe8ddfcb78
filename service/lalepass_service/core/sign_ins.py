"""What homeservers report: who signed in with which device, and when that ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from lalepass_service.core.model import UserId
from lalepass_service.core.ports import Clock, Throttle

KEEP_PER_ACCOUNT: Final = 50
KEEP_FOR: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One thing that happened on a homeserver."""

    id: str
    """Of the report: who gets it twice knows it again by this."""
    signed_in: bool
    """False: signed out."""
    localpart: str
    device_id: str | None
    at: datetime
    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A session, as far as it was reported: either of its ends may be unknown."""

    caller: str
    """The name of the token that reported it."""
    device_id: str | None
    signed_in_at: datetime | None
    signed_out_at: datetime | None
    ip: str | None
    user_agent: str | None


class SignIns(Protocol):
    """Where sign-ins are kept: the last 50 of each account. May raise StoreUnavailable."""

    async def add(self, reports: Sequence[Report], *, caller: str, now: datetime) -> None:
        """Take down a batch, in one step.

        The end of a session is joined with its beginning, in whatever order the two come. A
        report that was taken before, or is about a name that nobody has, changes nothing.
        """
        ...

    async def recent(self, user_id: UserId, *, limit: int) -> Sequence[SignIn]:
        """Return up to `limit` sessions of an account, the newest first."""
        ...

    async def sweep(self, *, before: datetime) -> int:
        """Forget sessions that nothing was reported of since. Returns how many."""
        ...


class Reporting:
    """Takes reports of homeservers. May raise Throttled and StoreUnavailable."""

    def __init__(self, *, sign_ins: SignIns, throttle: Throttle, clock: Clock) -> None:
        self._sign_ins = sign_ins
        self._throttle = throttle
        self._clock = clock

    async def take(self, reports: Sequence[Report], *, caller: str) -> None:
        """Write a batch down."""
        self._throttle.hit(source=None, caller=caller)
        now = self._clock.now()
        # A clock that is ahead would keep its sessions on top of the list.
        taken = [
            replace(each, at=min(each.at, now)) for each in reports if each.at > now - KEEP_FOR
        ]
        await self._sign_ins.add(taken, caller=caller, now=now)
