"""A guard over fakes, with Alice behind it, and somebody who is disabled."""

import asyncio
from datetime import timedelta

from lalepass_service.adapters.entrance import StagedEntrance
from lalepass_service.adapters.memory import (
    FixedClock,
    InstantHasher,
    MemorySoftLocks,
    MemoryTrail,
    MemoryUsers,
    NoThrottle,
)
from lalepass_service.core.check import CredentialCheck
from lalepass_service.core.digests import Digests
from lalepass_service.core.guard import Attempt, GuardedCheck
from lalepass_service.core.identifiers import ByEmail, ByLocalpart, ByPhone, Identifier
from lalepass_service.core.model import Credentials, Password, UserState
from lalepass_service.core.recent import RecentChecks
from tests.lalepass_service.accounts import ACT, NOW, a_user

RIGHT = "correct horse"
ALICE = ByLocalpart("alice")
EVERY_NAME: list[Identifier] = [ALICE, ByEmail("alice@example.org"), ByPhone("491701234567")]


class World:
    def __init__(self, *, remember: float = 0) -> None:
        self.users = MemoryUsers()
        self.hasher = InstantHasher()
        self.locks = MemorySoftLocks()
        self.throttle = NoThrottle()
        self.trail = MemoryTrail()
        self.clock = FixedClock(NOW)
        self.seconds = 0.0
        self.recent = RecentChecks(seconds=remember, now=lambda: self.seconds)
        self.guard = GuardedCheck(
            check=CredentialCheck(
                users=self.users, hasher=self.hasher, clock=self.clock, recent=self.recent
            ),
            entrance=StagedEntrance(self.users, self.locks),
            locks=self.locks,
            throttle=self.throttle,
            digests=Digests(b"k" * 32),
            trail=self.trail,
            clock=self.clock,
        )

    async def settle(self) -> None:
        """Make the accounts."""
        record = await self.hasher.hash(Password(RIGHT))
        alice = a_user("alice", emails=("alice@example.org",), phones=("491701234567",))
        await self.users.add(alice, record, reuse_name=False, act=ACT)
        await self.users.add(
            a_user("gone", state=UserState.DISABLED), record, reuse_name=False, act=ACT
        )
        self.hasher.calls = 0

    async def check(
        self, password: str, identifier: Identifier = ALICE, *, ip: str | None = None
    ) -> object:
        return await self.guard.check(
            Attempt(identifier=identifier, password=Password(password), caller="synapse", ip=ip)
        )

    async def failures(self, account: str = "id-alice") -> int:
        return sum(lane.failures for lane in await self.locks.lanes(account))

    async def spoil(self, why: str) -> None:
        """Let the store find that a record can't be unwrapped."""
        found = await self.users.credentials(ALICE)
        assert found is not None
        spoilt = Credentials(user=found.user, record=None, fault=why)

        async def credentials(_: object) -> Credentials:
            return spoilt

        self.users.credentials = credentials  # type: ignore[method-assign,assignment]

    async def hashes(self, count: int) -> None:
        """Wait until so many hashes have begun."""
        while self.hasher.calls < count:  # noqa: ASYNC110 - a counter, and the loop turns at once
            await asyncio.sleep(0)

    def later(self, **time: float) -> None:
        self.clock.time += timedelta(**time)
        self.seconds += timedelta(**time).total_seconds()
