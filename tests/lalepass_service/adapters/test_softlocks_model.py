"""Every keeper of lanes against a model, in whatever order Hypothesis thinks of.

The model states the rules anew, in plain Python: it uses nothing of `core.softlock`.
"""

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lalepass_service.adapters.memory import MemorySoftLocks
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import Throttled
from lalepass_service.core.ports import SoftLocks as Keeper
from lalepass_service.core.softlock import Ticket
from tests.lalepass_service.accounts import ACT, NOW, a_user
from tests.lalepass_service.paying import debit

T = TypeVar("T")

ALICE = a_user("alice")
NOBODY, NO_OTHER = "0:nobody", "1:nobody"
NAMES_KEPT = 1
HOME, ELSEWHERE, UNKNOWN = b"h" * 16, b"e" * 16, b""
EVERYBODY = b""

accounts = st.sampled_from([ALICE.id, NOBODY, NO_OTHER])
sources = st.sampled_from([HOME, ELSEWHERE, UNKNOWN])


def guess(number: int) -> bytes:
    return number.to_bytes(16)


def wait_after(failures: int) -> float:
    if failures <= 5:
        return (0, 0, 0, 1, 3, 5)[failures]
    return 10 if failures < 25 else min(3600, 30 * 1.5 ** (failures - 25))


@dataclass
class Lane:
    """What ought to be remembered."""

    failures: int = 0
    until: datetime = NOW
    ring: list[bytes] = field(default_factory=list)
    stored: bool = False
    """Whether anything of it is kept."""
    changed: datetime = NOW

    def wait(self, now: datetime) -> float:
        return 3600 if self.failures >= 100 else max(0, (self.until - now).total_seconds())

    def pay(self, made: bytes, now: datetime) -> None:
        self.stored, self.changed = True, now
        self.failures += 1
        self.until = now + timedelta(seconds=wait_after(self.failures))
        self.ring = [*self.ring, made][-8:]

    def refund(self, made: bytes, now: datetime) -> None:
        if made not in self.ring:
            return
        self.changed = now
        self.until -= timedelta(seconds=wait_after(self.failures) - wait_after(self.failures - 1))
        self.failures -= 1
        if self.ring[-1] == made:
            self.until = now
        self.ring.remove(made)


class SoftLocks(RuleBasedStateMachine):
    """In memory."""

    one: Keeper
    other: Keeper
    """Another way to the same lanes."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = NOW
        self.fresh = 1000
        self.lanes: dict[tuple[str, bytes], Lane] = {}
        self.seen: dict[bytes, datetime] = {}
        self.tickets: list[Ticket] = []
        """Those of guesses of which it is not known yet what came of them."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        self.open()

    def open(self) -> None:
        self.one = self.other = MemorySoftLocks(names_kept=NAMES_KEPT)

    def restarted(self) -> None:
        """What is in memory does not outlive it."""

    def close(self) -> None:
        pass

    def teardown(self) -> None:
        self.close()
        self.runner.close()

    def lane_of(self, account: str, source: bytes) -> bytes:
        seen = self.seen.get(source) if account == ALICE.id else None
        return source if seen and self.now - seen < timedelta(days=30) else EVERYBODY

    def lane(self, account: str, source: bytes) -> Lane:
        return self.lanes.setdefault((account, self.lane_of(account, source)), Lane())

    def debit(self, account: str, source: bytes, made: bytes) -> Ticket | None:
        """Guess, and hold what comes of it against what ought to."""
        lane = self.lane(account, source)
        paying = debit(self.one, account, source=source, guess=made, now=self.now)
        if (wait := lane.wait(self.now)) > 0:
            with pytest.raises(Throttled) as throttled:
                self.run(paying)
            assert throttled.value.retry_after == pytest.approx(wait)
            return None
        ticket = self.run(paying)
        assert ticket.lane == self.lane_of(account, source)
        assert ticket.paid == (made not in lane.ring)
        if ticket.paid:
            lane.pay(made, self.now)
        return ticket

    @rule(account=accounts, source=sources, number=st.integers(0, 12))
    def guess(self, account: str, source: bytes, number: int) -> None:
        if ticket := self.debit(account, source, guess(number)):
            self.tickets.append(ticket)

    @rule(account=accounts, source=sources, which=st.integers(-8, -1))
    def guess_the_same_again(self, account: str, source: bytes, which: int) -> None:
        lane = self.lane(account, source)
        self.now = max(self.now, lane.until)
        if len(lane.ring) + which < 0 or lane.failures >= 100:
            return
        if ticket := self.debit(account, source, lane.ring[which]):
            assert not ticket.paid
            self.tickets.append(ticket)

    @rule(which=st.integers(0, 9))
    def it_was_wrong(self, which: int) -> None:
        """A guess that was not paid for is charged, unless somebody's debit stands for it."""
        if not self.tickets:
            return
        ticket = self.tickets.pop(which % len(self.tickets))
        if not ticket.paid:
            self.charge(ticket)

    def charge(self, ticket: Ticket) -> None:
        self.run(self.other.charge(ticket, now=self.now))
        lane = self.lanes.setdefault((ticket.account, ticket.lane), Lane())
        if ticket.guess not in lane.ring:
            lane.pay(ticket.guess, self.now)

    def give_back(self, ticket: Ticket) -> None:
        self.run(self.other.give_back(ticket, now=self.now))
        if ticket.paid and (lane := self.lanes.get((ticket.account, ticket.lane))):
            lane.refund(ticket.guess, self.now)

    @rule(account=accounts, source=sources, verified=st.booleans())
    def it_rode_on_the_debit_of_another(
        self,
        account: str,
        source: bytes,
        verified: bool,  # noqa: FBT001 - Hypothesis passes it by name
    ) -> None:
        self.fresh += 1
        lane = self.lane(account, source)
        self.now = max(self.now, lane.until)
        payer = self.debit(account, source, guess(self.fresh))
        self.now = max(self.now, lane.until)
        rider = self.debit(account, source, guess(self.fresh))
        if payer and rider:
            if not verified:
                self.give_back(payer)
            self.now += timedelta(seconds=1)
            self.charge(rider)

    @rule(which=st.integers(0, 9))
    def it_could_not_be_verified(self, which: int) -> None:
        if not self.tickets:
            return
        ticket = self.tickets.pop(which % len(self.tickets))
        self.run(self.other.give_back(ticket, now=self.now))
        if ticket.paid and (lane := self.lanes.get((ticket.account, ticket.lane))):
            lane.refund(ticket.guess, self.now)

    @rule(account=accounts, source=sources, times=st.integers(10, 60))
    def guess_on_and_on(self, account: str, source: bytes, times: int) -> None:
        for _ in range(times):
            self.now = max(self.now, self.lane(account, source).until)
            self.fresh += 1
            self.debit(account, source, guess(self.fresh))

    @rule(source=sources)
    def the_right_password(self, source: bytes) -> None:
        self.fresh += 1
        if (ticket := self.debit(ALICE.id, source, guess(self.fresh))) is None:
            return
        self.run(self.settle(ticket))
        self.lanes.pop((ALICE.id, ticket.lane))
        seen = self.seen.get(source)
        if source and (seen is None or self.now - seen >= timedelta(days=1)):
            self.seen[source] = self.now

    async def settle(self, ticket: Ticket) -> None:
        self.one.settle(ticket, user_id=ALICE.id, now=self.now)
        # Nobody waits for it, but it comes before whatever is written next on this connection.
        await self.one.lanes(ticket.account)

    @rule(account=accounts, source=sources, count=st.integers(2, 12))
    def guess_in_parallel(self, account: str, source: bytes, count: int) -> None:
        """Over both connections at once: no more get through than one after another would."""
        lane, guesses = self.lane(account, source), []
        for _ in range(count):
            self.fresh += 1
            guesses.append(guess(self.fresh))

        async def all_at_once() -> list[Ticket | BaseException]:
            debits = (
                debit(locks, account, source=source, guess=made, now=self.now)
                for made, locks in zip(guesses, [self.one, self.other] * count, strict=False)
            )
            return await asyncio.gather(*debits, return_exceptions=True)

        outcomes = self.run(all_at_once())

        admitted = [each.guess for each in outcomes if isinstance(each, Ticket)]
        assert all(isinstance(each, Ticket | Throttled) for each in outcomes)
        expected = 0
        while expected < count and lane.wait(self.now) == 0:
            lane.pay(b"", self.now)
            expected += 1
        assert len(admitted) == expected
        # In which order they came is not known; all else is.
        stored = self.stored(account).get(self.lane_of(account, source), Lane()).ring
        newest = len(stored) - expected
        assert set(stored[newest:]) == set(admitted)
        lane.ring = [*lane.ring[:newest], *stored[newest:]]

    @rule(seconds=st.sampled_from([0.5, 1, 4, 10, 31, 3600]))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(days=st.sampled_from([1, 15, 29, 30]))
    def days_pass(self, days: int) -> None:
        self.now += timedelta(days=days)

    @rule(account=accounts)
    def unlock(self, account: str) -> None:
        had = bool(self.stored(account))
        assert self.run(self.other.unlock(account, act=None, now=self.now)) == had
        self.lanes = {key: lane for key, lane in self.lanes.items() if key[0] != account}

    @rule(which=st.integers(-3, -1), later=st.booleans())
    def sweep(self, which: int, later: bool) -> None:  # noqa: FBT001 - Hypothesis passes it by name
        """Of what was not used since, all goes but the lane that all share.

        That of an account stays, and of one name that nobody has: the one that was used last.

        Since a moment at which something was used, or just after it.
        """
        used = [lane.changed for lane in self.lanes.values() if lane.stored]
        used = [NOW, NOW, NOW, *sorted([*used, *self.seen.values()])]
        before = used[which] + timedelta(microseconds=later)
        old = {
            key: lane
            for key, lane in self.lanes.items()
            if lane.stored and lane.changed < before and key != (ALICE.id, EVERYBODY)
        }
        last = max((lane.changed for key, lane in old.items() if key[0] != ALICE.id), default=NOW)
        kept = self.kept_since(last)
        lanes = {
            key: lane for key, lane in old.items() if key[0] == ALICE.id or lane.changed < kept
        }
        sources = {source for source, seen in self.seen.items() if seen < before}

        assert self.run(self.other.sweep(before=before)) == len(lanes) + len(sources)
        self.lanes = {key: lane for key, lane in self.lanes.items() if key not in lanes}
        self.seen = {source: seen for source, seen in self.seen.items() if source not in sources}

    def kept_since(self, last: datetime) -> datetime:
        """Return since when names are kept if all but the last would be too many."""
        return last

    @rule()
    def restart(self) -> None:
        self.restarted()

    def stored(self, account: str) -> dict[bytes, Lane]:
        """Read the lanes as they are, in the order of their names."""
        names = sorted(
            name for (owner, name), lane in self.lanes.items() if owner == account and lane.stored
        )
        return {
            name: Lane(lane.failures, lane.not_before or NOW, list(lane.ring))
            for name, lane in zip(names, self.run(self.one.lanes(account)), strict=True)
        }

    @invariant()
    def it_remembers_what_it_should(self) -> None:
        for account in (ALICE.id, NOBODY, NO_OTHER):
            for name, lane in self.stored(account).items():
                expected = self.lanes[account, name]
                assert (lane.failures, lane.ring) == (expected.failures, expected.ring)
                assert max(lane.until, self.now) == max(expected.until, self.now)


class SqlSoftLocksOverTwoPaths(SoftLocks):
    """On SQLite, over two connections, which are closed and opened again at a restart."""

    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "lalepass.db"
        upgrade(self.path)
        database = Database.open(self.path)
        self.run(SqlUsers(database).add(ALICE, None, reuse_name=False, act=ACT))
        self.run(database.close())
        self.connect()

    def connect(self) -> None:
        self.paths = [HotPath.open(self.path) for _ in range(2)]
        self.one, self.other = (SqlSoftLocks(path, names_kept=NAMES_KEPT) for path in self.paths)

    def disconnect(self) -> None:
        for path in self.paths:
            self.run(path.close())

    def restarted(self) -> None:
        self.disconnect()
        self.connect()

    def close(self) -> None:
        self.disconnect()
        self.folder.cleanup()


TestSoftLocks = SoftLocks.TestCase
TestSoftLocks.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestSqlSoftLocks = SqlSoftLocksOverTwoPaths.TestCase
TestSqlSoftLocks.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
