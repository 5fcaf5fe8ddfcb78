"""Lanes that all replicas share, as long as Valkey answers, and a share of them when it does not.

Neither open nor closed: without Valkey, nobody is let guess without end, and nobody is kept out who
knows their password. Nobody hears of it but the operator, in the log and in the metrics.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from lalepass_service.adapters.valkey.client import Client, Lost
from lalepass_service.adapters.valkey.local import LocalLanes
from lalepass_service.adapters.valkey.softlocks import ValkeySoftLocks
from lalepass_service.core.audit import Entry
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import UserId
from lalepass_service.core.ports import Clock
from lalepass_service.core.softlock import Bid, Lane, Ticket, Wait

_log: Final = logging.getLogger(__name__)


class SharedSoftLocks:
    """Implements `core.ports.SoftLocks`.

    What checks need never raises Lost; what operators do may, but for an unlock.
    """

    def __init__(
        self, *, client: Client, valkey: ValkeySoftLocks, local: LocalLanes, clock: Clock
    ) -> None:
        """Keep lanes.

        Args:
            client: says whether Valkey answers.
            valkey: the lanes there. Its memory is `local`.
            local: the lanes here.
            clock: when something is put back.
        """
        self._client = client
        self._valkey = valkey
        self._local = local
        self._clock = clock
        client.forget = local.begin_anew
        self.fallbacks = 0
        """How many guesses were decided here alone."""
        self.put_back = 0
        """How many lanes were put back."""

    @property
    def conflicts(self) -> int:
        """How often another replica was quicker."""
        return self._valkey.conflicts

    async def pay(self, bid: Bid, *, now: datetime) -> Ticket | Wait:
        """Pay for a guess, if it may be made.

        Raises:
            StoreUnavailable: other replicas were quicker again and again.
        """
        if self._client.up:
            with suppress(Lost):
                return await self._valkey.pay(bid, now=now)
        self.fallbacks += 1
        return self._local.pay(bid, now=now)

    def settle(self, ticket: Ticket, *, user_id: UserId, now: datetime) -> None:
        """The guess was right: begin anew in its lane, and know its source from now on."""
        self._local.settle(ticket, now=now)
        if self._client.up:
            self._valkey.settle(ticket, user_id=user_id, now=now)

    async def charge(self, ticket: Ticket, *, now: datetime) -> None:
        """A repeated guess was wrong: debit it now if nobody's debit stands for it any more."""
        if self._client.up:
            with suppress(Lost):
                await self._valkey.charge(ticket, now=now)
                return
        self._local.charge(ticket, now=now)

    async def give_back(self, ticket: Ticket, *, now: datetime) -> None:
        """The guess could not be verified: undo the debit, wherever it was made."""
        self._local.give_back(ticket)
        if self._client.up:
            # What Valkey does not hear of stays paid for there.
            with suppress(Lost):
                await self._valkey.give_back(ticket, now=now)

    async def lanes(
        self, account: str, *, since: datetime | None = None, unlocked: datetime | None = None
    ) -> Sequence[Lane]:
        """Return what is remembered of wrong passwords, for every lane that has any."""
        return await self._valkey.lanes(account, since=since, unlocked=unlocked)

    async def unlock(
        self, account: str, *, act: Entry | None, now: datetime, unlocked: datetime | None = None
    ) -> bool:
        """Forget all wrong passwords. Returns False if there were none."""
        done = await self._valkey.unlock(account, act=act, now=now, unlocked=unlocked)
        self._local.forget(account)
        return done

    async def forget(self, account: str) -> None:
        """Forget wrong passwords and known sources: the password is another one, or all is gone."""
        self._local.forget(account)
        await self._valkey.forget(account)

    async def sweep(self, *, before: datetime) -> int:
        """Forget sources with their lanes, unless used since, and names that are too many."""
        return await self._valkey.sweep(before=before)

    async def reconcile(self) -> None:
        """Put back what Valkey missed or has lost, whenever there may be something, for ever.

        Also without this a lane is put back when somebody comes to it; the others should not wait
        until then, since it may be at another replica.
        """
        while True:
            await self._client.changed.wait()
            self._client.changed.clear()
            with suppress(Lost):
                await self._put_all_back()

    async def _put_all_back(self) -> None:
        missing = self._local.missing(epoch=self._client.epoch)
        count = 0
        for account, lane, view in missing:
            # One after another: people who log in come first.
            with suppress(StoreUnavailable):
                await self._valkey.put_back(account, lane, of=view, now=self._clock.now())
                count += 1
            if not self._client.up:
                break
        self.put_back += count
        if count:
            _log.warning("wrong passwords were put back into Valkey for %d lanes", count)
