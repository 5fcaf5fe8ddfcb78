"""Unlocks over several replicas that lose Valkey and find it again, in whatever order.

An operator unlocks the account now and then, with Valkey and without. Whatever was guessed before
counts nowhere from then on, and whatever was guessed after it counts everywhere, exactly, unless
the replica that took it ended before it could tell. Some replica has always read the account a
moment too early.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lalepass_service.core.model import UserId
from lalepass_service.core.softlock import Bid, Ticket
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.valkey.house import Replica, a_replica
from tests.servers.valkey import Valkey

T = TypeVar("T")

ALICE = UserId("00000000-0000-4000-8000-000000000001")
COUNT = 3
MANY = 20
"""Guesses since the last unlock. While Valkey is away each is as many as COUNT, of a hundred."""

which = st.integers(0, COUNT - 1)


class Unlocks(RuleBasedStateMachine):
    server: ClassVar[Valkey]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.now = NOW
        self.number = 0
        self.up = True
        self.unlocked: datetime | None = None
        """What the database says."""
        self.before: datetime | None = None
        """What it said before."""
        self.told = True
        """Whether Valkey has heard of the last unlock."""
        self.there = 0
        """How many guesses Valkey knows since then."""
        self.pending = [0] * COUNT
        """How many each replica has taken by itself."""
        self.aware = [False] * COUNT
        """Whether the replica remembers a lane from after the last unlock."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        self.url = self.server.new_url()
        self.operator = self.start()
        self.replicas = [self.start() for _ in range(COUNT)]

    def start(self) -> Replica:
        replica = self.run(self.stack.enter_async_context(a_replica(self.url, of=COUNT)))
        replica.client.up = self.up
        return replica

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    @property
    def clients(self) -> "Iterator[Any]":
        return (each.client for each in (self.operator, *self.replicas))

    def pay(self, index: int, *, unlocked: datetime | None) -> Ticket | None:
        """Make a guess that nobody has made, so late that nobody has to wait."""
        self.number += 1
        self.now += timedelta(days=1)
        guess = self.number.to_bytes(16)
        bid = Bid(account=ALICE, guess=guess, source=b"", since=NOW, unlocked=unlocked)
        paid = self.run(self.replicas[index].shared.pay(bid, now=self.now))
        return paid if isinstance(paid, Ticket) else None

    @property
    def few(self) -> bool:
        return self.there + sum(self.pending) < MANY

    @precondition(lambda self: self.few)
    @rule(index=which)
    def guess(self, index: int) -> None:
        self.take(index)

    def take(self, index: int) -> Ticket:
        ticket = self.pay(index, unlocked=self.unlocked)
        assert ticket is not None
        assert ticket.paid
        self.aware[index] = True
        if self.up:
            self.told = True
            self.there += 1 + self.pending[index]
            self.pending[index] = 0
        else:
            self.pending[index] += 1
        return ticket

    @precondition(lambda self: self.few and self.before != self.unlocked)
    @rule(index=which)
    def guess_having_read_too_early(self, index: int) -> None:
        """It counts where it is known already that there was an unlock, and harms nobody."""
        if self.pay(index, unlocked=self.before) is None:
            return
        if self.up and self.told:
            self.there += 1
            if self.aware[index]:
                self.there += self.pending[index]
                self.pending[index] = 0
            self.aware[index] = True
        elif not self.up and self.aware[index]:
            self.pending[index] += 1

    @precondition(lambda self: self.few)
    @rule(index=which)
    def the_right_password(self, index: int) -> None:
        ticket = self.take(index)
        self.run(self.settle(index, ticket))
        self.aware[index] = False
        if self.up:
            self.there = 0
        else:
            self.pending[index] = 0

    async def settle(self, index: int, ticket: Ticket) -> None:
        replica = self.replicas[index]
        replica.shared.settle(ticket, user_id=ALICE, now=self.now)
        if self.up:
            await replica.valkey.lanes(ALICE)  # which comes after it

    @rule()
    def unlock(self) -> None:
        had = self.there > 0
        unlocking = self.operator.valkey.unlock(
            ALICE, act=None, now=self.now, unlocked=self.unlocked
        )
        assert self.run(unlocking) == (had or not self.up)
        # Also where Valkey knew of nothing: a replica may.
        self.before, self.unlocked = self.unlocked, self.operator.unlocks.at
        self.told = self.up and had
        self.there = 0
        self.pending = [0] * COUNT
        self.aware = [False] * COUNT

    @precondition(lambda self: self.up)
    @rule()
    def lose(self) -> None:
        """It is away, as far as everybody can tell."""
        for client in self.clients:
            client.up = False
        self.up = False

    @precondition(lambda self: not self.up)
    @rule()
    def find(self) -> None:
        for client in self.clients:
            self.run(client.look())
            assert client.up
        self.up = True

    @precondition(lambda self: self.up)
    @rule(index=which)
    def put_back(self, index: int) -> None:
        self.run(self.replicas[index].shared._put_all_back())  # noqa: SLF001 - at once
        if self.pending[index]:
            self.told = True
        self.there += self.pending[index]
        self.pending[index] = 0

    @rule(index=which)
    def restart(self, index: int) -> None:
        self.replicas[index] = self.start()
        self.pending[index] = 0
        self.aware[index] = False

    @rule(minutes=st.integers(-60, 60))
    def the_clock_is_set(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @precondition(lambda self: self.up)
    @invariant()
    def what_came_after_the_unlock_counts_and_nothing_else(self) -> None:
        lanes = self.run(self.operator.valkey.lanes(ALICE, since=NOW, unlocked=self.unlocked))
        assert sum(lane.failures for lane in lanes) == self.there


TestUnlocks = Unlocks.TestCase
TestUnlocks.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(autouse=True, scope="module")
def _server(valkey_server: Valkey) -> Iterator[None]:
    Unlocks.server = valkey_server
    yield
    del Unlocks.server
