"""Lanes in Valkey.

The rules are those of `core.softlock` and run here, not there: what an account has is read in one
trip, a rule decides, and a script puts the new lane in the place of the one that was read, in one
step, unless another replica was quicker. Then it is done again. Within a process those who are
about one account take turns, so that a race is between replicas only, and is lost a few times at
most: each time, one of them has won.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

from lalepass_service.adapters.valkey import names, scripts
from lalepass_service.adapters.valkey.client import Client, Lost
from lalepass_service.adapters.valkey.state import Memory, NoMemory, State, View
from lalepass_service.adapters.valkey.sweeping import sweep
from lalepass_service.adapters.valkey.turns import Turns
from lalepass_service.core.audit import Entry
from lalepass_service.core.digests import Digests
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import UserId
from lalepass_service.core.softlock import (
    KNOWN_FOR,
    NAMES_KEPT,
    SEEN_AGAIN,
    Bid,
    Debited,
    Lane,
    Ticket,
    Wait,
    as_by_the_rule,
    charge,
    debit,
    give_back,
)

_log: Final = logging.getLogger(__name__)

_TRIES: Final = 64
_KEEP: Final = KNOWN_FOR + timedelta(days=1)
"""How long an account's key stays that nobody touches: longer than anything in it is good for.
One that holds guesses of everybody stays until it is swept: see `ports.SoftLocks.sweep`."""
_KEEP_MILLIS: Final = _KEEP // timedelta(milliseconds=1)
_FOREVER: Final = 0
_MAX_POSTED: Final = 10_000


class Unlocks(Protocol):
    """Writes down where the accounts are that one of them is unlocked."""

    async def note_unlock(
        self, account: str, *, act: Entry | None, now: datetime
    ) -> datetime | None:
        """Write it down with its act, and return from when on it is; None if there is no account.

        Raises:
            StoreUnavailable: it could not be written.
        """
        ...


class ValkeySoftLocks:
    """Implements `core.ports.SoftLocks`.

    Every method but `settle` may raise Lost, and StoreUnavailable if others were quicker again and
    again.
    """

    def __init__(
        self,
        client: Client,
        digests: Digests,
        *,
        unlocks: Unlocks | None = None,
        memory: Memory | None = None,
        names_kept: int = NAMES_KEPT,
    ) -> None:
        """Keep lanes.

        Args:
            client: where.
            digests: what accounts are named with.
            unlocks: where an unlock is written down; without it, it is a fact in Valkey only.
            memory: what this process knows.
            names_kept: of how many names that nobody has the guesses stay.
        """
        self._client = client
        self._digests = digests
        self._unlocks = unlocks
        self._memory = NoMemory() if memory is None else memory
        self._names_kept = names_kept
        self._turns = Turns()
        self._posted: dict[str, list[Callable[[], Awaitable[None]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.conflicts = 0
        """How often another replica was quicker."""

    async def pay(self, bid: Bid, *, now: datetime) -> Ticket | Wait:
        """Pay for a guess before it is made, if it may be made."""
        async with self._turn(bid.account):
            for _ in range(_TRIES):
                state = await self._read(bid, source=bid.source)
                if state.ahead:
                    # Somebody has read a newer password: what we have read may be of a database
                    # that time has passed by. No `Lost`, or it would be decided here alone.
                    raise StoreUnavailable
                known_at = state.known_at(bid.source)
                lane = bid.source if _is_known(known_at, now) else b""
                view = state.view(epoch=self._client.epoch, known_at=known_at)
                merged = self._memory.merged(bid.account, lane, state.lane(lane), view)
                there = as_by_the_rule(merged, now=now)
                decision = debit(there, guess=bid.guess, now=now)
                wanted = decision.lane if isinstance(decision, Debited) else there
                if not await self._put(lane, wanted, state, now):
                    continue
                self._memory.saw(bid.account, lane, wanted, view)
                if isinstance(decision, Wait):
                    return decision
                return bid.ticket(lane=lane, paid=isinstance(decision, Debited))
        raise StoreUnavailable

    def settle(self, ticket: Ticket, *, user_id: UserId, now: datetime) -> None:
        """The guess was right: begin anew in its lane, and know its source from now on.

        Nobody waits for it; whoever comes to the account after it waits until it is done.
        """
        del user_id  # it is the account: nobody has the right password of a mere name

        async def work() -> None:
            # What is lost errs on the safe side.
            with suppress(StoreUnavailable):
                await self._settle(ticket, now)

        if len(self._tasks) >= _MAX_POSTED:
            _log.warning("a right password is not settled: too many are waiting")
            return
        self._posted.setdefault(ticket.account, []).append(work)
        task = asyncio.get_running_loop().create_task(self._settle_soon(ticket.account))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def give_back(self, ticket: Ticket, *, now: datetime) -> None:
        """The guess could not be verified: undo the debit."""
        if ticket.paid:
            await self._change(ticket, lambda lane: give_back(lane, guess=ticket.guess), now)

    async def charge(self, ticket: Ticket, *, now: datetime) -> None:
        """A repeated guess was wrong: debit it now if nobody's debit stands for it any more."""
        await self._change(ticket, lambda lane: charge(lane, guess=ticket.guess, now=now), now)

    async def put_back(self, account: str, lane: bytes, *, of: View, now: datetime) -> None:
        """Write what this process knows of a lane and Valkey does not."""
        guess = Ticket(
            account=account,
            lane=lane,
            guess=b"",
            source=lane,
            paid=False,
            since=of.since,
            unlocked=of.unlocked,
        )
        await self._change(guess, lambda there: there, now)

    async def lanes(
        self, account: str, *, since: datetime | None = None, unlocked: datetime | None = None
    ) -> tuple[Lane, ...]:
        """Return what is remembered of wrong passwords, for every lane that has any."""
        async with self._turn(account):
            fields = await self._fields(self._key(account))
        state = State(self._key(account), fields, since, unlocked)
        if state.void or state.opened:
            return ()
        found = sorted(lane for lane in map(names.lane_of, fields) if lane is not None)
        return tuple(map(state.lane, found))

    async def unlock(
        self, account: str, *, act: Entry | None, now: datetime, unlocked: datetime | None = None
    ) -> bool:
        """Forget all wrong passwords. Returns False if there were none.

        It is written down where the accounts are, and from then on it is so: every replica reads
        it there with the account. Valkey is told as well, so that it has less to keep; where it
        can't be asked, nobody can tell whether there are any. That it has none does not mean that
        there are none: a replica may be cut off from it, or it may just have lost all.
        """
        async with self._turn(account):
            had = True
            with suppress(Lost):
                had = await self._has_lanes(account, unlocked)
            at: datetime | None = now
            if self._unlocks is not None:
                at = await self._unlocks.note_unlock(account, act=act if had else None, now=now)
            if at is None or not had:
                return False
            with suppress(Lost):
                await self._client.run(
                    scripts.UNLOCK, self._key(account), _KEEP_MILLIS, names.micros(at)
                )
        return True

    async def forget(self, account: str) -> None:
        """Forget wrong passwords and known sources: the password is another one, or all is gone."""
        async with self._turn(account):
            await self._client.ask(("DEL", self._key(account)))

    async def sweep(self, *, before: datetime) -> int:
        """Forget sources with their lanes, unless used since, and names that are too many.

        What lies in keys that nobody touches ends by itself; this is for the keys that stay.
        """
        return await sweep(self._client, before=before, names_kept=self._names_kept)

    async def close(self) -> None:
        """Finish what was posted."""
        await asyncio.gather(*self._tasks)

    async def _change(self, ticket: Ticket, change: Callable[[Lane], Lane], now: datetime) -> None:
        account, lane = ticket.account, ticket.lane
        async with self._turn(account):
            for _ in range(_TRIES):
                state = await self._read(ticket, source=lane)
                view = state.view(epoch=self._client.epoch, known_at=state.known_at(lane))
                there = self._memory.merged(account, lane, state.lane(lane), view)
                # What is about an older password changes nothing any more.
                wanted = there if state.ahead else change(there)
                if await self._put(lane, wanted, state, now):
                    self._memory.saw(account, lane, wanted, view)
                    return
        raise StoreUnavailable

    async def _has_lanes(self, account: str, unlocked: datetime | None) -> bool:
        """Whether there are any that count, also such as nobody can read: an unlock helps then."""
        fields = await self._fields(self._key(account))
        with suppress(names.Unreadable):
            if State(self._key(account), fields, None, unlocked).opened:
                return False
        return any(names.lane_of(name) is not None for name in fields)

    async def _read(self, of: Bid | Ticket, *, source: bytes) -> State:
        key = self._key(of.account)
        wanted = [names.PASSWORD_SET, names.UNLOCKED, names.lane_field(b"")]
        if source:
            wanted += [names.lane_field(source), names.known_field(source)]
        (values,) = await self._client.read(("HMGET", key, *wanted))
        fields = {
            name: value for name, value in zip(wanted, values, strict=True) if value is not None
        }
        return State(key, fields, of.since, of.unlocked)

    async def _put(self, lane: bytes, wanted: Lane, state: State, now: datetime) -> bool:
        """Store a lane in the place of what was read. Returns False if that has changed."""
        if wanted == state.lane(lane):
            return True
        field = names.lane_field(lane)
        stays = not lane and wanted.failures > 0
        swapped = await self._client.run(
            scripts.SWAP,
            state.key,
            state.fields.get(names.PASSWORD_SET, b""),
            state.password_set,
            field,
            state.fields.get(field, b""),
            names.pack(wanted, changed_at=now),
            _FOREVER if stays else _KEEP_MILLIS,
            state.fields.get(names.UNLOCKED, b""),
            state.unlock,
        )
        self.conflicts += not swapped
        return bool(swapped)

    async def _settle(self, ticket: Ticket, now: datetime) -> None:
        await self._client.run(
            scripts.SETTLE,
            self._key(ticket.account),
            b"" if ticket.since is None else names.micros(ticket.since),
            names.lane_field(ticket.lane),
            names.known_field(ticket.source) if ticket.source else b"",
            names.micros(now),
            SEEN_AGAIN // timedelta(microseconds=1),
            _KEEP_MILLIS,
        )

    async def _settle_soon(self, account: str) -> None:
        async with self._turn(account):
            pass

    @asynccontextmanager
    async def _turn(self, account: str) -> AsyncIterator[None]:
        """Wait for those who are about this account, and do first what was posted about it."""
        async with self._turns.at(account):
            while posted := self._posted.get(account):
                # Off the list first: who is cancelled here takes only this one with them.
                work = posted.pop(0)
                if not posted:
                    del self._posted[account]
                await work()
            yield

    async def _fields(self, key: str) -> dict[bytes, bytes]:
        (flat,) = await self._client.ask(("HGETALL", key))
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def _key(self, account: str) -> str:
        return names.key_of(account, prefix=self._client.prefix, digests=self._digests)


def _is_known(seen_at: datetime | None, now: datetime) -> bool:
    """Whether somebody entered from there lately, and not in the future: a clock may be wrong."""
    return seen_at is not None and -SEEN_AGAIN < now - seen_at < KNOWN_FOR
