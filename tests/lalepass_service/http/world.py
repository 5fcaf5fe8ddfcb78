"""The API over fakes, and a caller that may ask."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any

import httpx
from fastapi import FastAPI

from lalepass_service.adapters.entrance import StagedEntrance
from lalepass_service.adapters.hashing import HasherLoad
from lalepass_service.adapters.memory import (
    FixedClock,
    InstantHasher,
    MemoryCallers,
    MemoryChanges,
    MemorySignIns,
    MemorySignOutOrders,
    MemorySoftLocks,
    MemoryTrail,
    MemoryUsers,
    NoThrottle,
)
from lalepass_service.core.callers import CallerRegistry
from lalepass_service.core.check import CredentialCheck
from lalepass_service.core.digests import Digests
from lalepass_service.core.errors import Overloaded, StoreUnavailable
from lalepass_service.core.feed import Feed
from lalepass_service.core.guard import GuardedCheck
from lalepass_service.core.model import Password, Scope, UserState
from lalepass_service.core.recent import RecentChecks
from lalepass_service.core.sign_ins import Reporting
from lalepass_service.core.watch import Watch
from lalepass_service.http import api
from lalepass_service.http.counters import Counters
from lalepass_service.http.metrics import Figure
from lalepass_service.http.primaries import Primaries
from lalepass_service.http.replicas import Replicas
from lalepass_service.parts.trail import TrailState
from lalepass_wire import paths
from tests.lalepass_service.accounts import ACT, BY, NOW, a_user

PASSWORD = "correct horse"
WRONG = "battery staple"
VERSION = "1.2.3"

LOAD = HasherLoad(
    slots=2,
    busy=1,
    waiting=3,
    held=2,
    extra_kib=6,
    shed=4,
    completed=5,
    seconds=0.5,
    waits=(((0.1, 6), (inf, 7)), 8.5),
)

TRAIL = TrailState(waiting=6, lost=7, copy_failures=8, copy_lost=9)


@dataclass
class World:
    """Everything behind the API, to be questioned and to be told to fail."""

    users: MemoryUsers = field(default_factory=MemoryUsers)
    callers: MemoryCallers = field(default_factory=MemoryCallers)
    hasher: InstantHasher = field(default_factory=InstantHasher)
    locks: MemorySoftLocks = field(default_factory=MemorySoftLocks)
    throttle: NoThrottle = field(default_factory=NoThrottle)
    trail: MemoryTrail = field(default_factory=MemoryTrail)
    database_answers: bool = True
    token: str = ""
    feed_token: str = ""
    recent: RecentChecks = field(default_factory=lambda: RecentChecks(seconds=0))
    counters: Counters | None = None
    replicas: Replicas | None = None
    figures: list[Figure] = field(default_factory=list)
    primaries: Primaries | None = None
    full: Overloaded | None = None
    """What checks are turned away with, for want of room."""

    def __post_init__(self) -> None:
        self.changes = MemoryChanges(self.users)
        self.orders = MemorySignOutOrders(self.users)
        self.sign_ins = MemorySignIns(self.users)
        self.watch = Watch(self.changes.head, pause=0.02, max_waiting=8)

    @property
    def waiting(self) -> int:
        return self.watch.waiting

    @property
    def reporting(self) -> Reporting:
        return Reporting(sign_ins=self.sign_ins, throttle=self.throttle, clock=FixedClock(NOW))

    @cached_property
    def feed(self) -> Feed:
        return Feed(
            changes=self.changes,
            orders=self.orders,
            watch=self.watch,
            throttle=self.throttle,
            clock=FixedClock(NOW),
        )

    @cached_property
    def registry(self) -> CallerRegistry:
        return CallerRegistry(callers=self.callers, clock=FixedClock(NOW))

    async def settle(self) -> None:
        """Make the accounts and the token that the tests know."""
        record = await self.hasher.hash(Password(PASSWORD))
        alice = a_user("alice", emails=("alice@example.org",), phones=("491701234567",))
        await self.users.add(
            replace(alice, display_name="Alice", admin=True), record, reuse_name=False, act=ACT
        )
        await self.users.add(
            a_user("gone", state=UserState.DISABLED), record, reuse_name=False, act=ACT
        )
        stale = replace(a_user("stale"), password_must_change=True)
        await self.users.add(stale, record, reuse_name=False, act=ACT)
        self.hasher.calls = 0
        _, self.token = await self.registry.create("homeserver", [Scope.CHECK], by=BY)
        _, self.feed_token = await self.registry.create("follower", [Scope.FEED], by=BY)

    def app(self, *, request_timeout: float = 30) -> FastAPI:
        return api.build(
            check=GuardedCheck(
                check=CredentialCheck(
                    users=self.users,
                    hasher=self.hasher,
                    clock=FixedClock(NOW),
                    recent=self.recent,
                ),
                entrance=StagedEntrance(self.users, self.locks),
                locks=self.locks,
                throttle=self.throttle,
                digests=Digests(b"k" * 32),
                trail=self.trail,
                clock=FixedClock(NOW),
            ),
            followers=self,
            registry=self.registry,
            ready=self._ping,
            hasher=Room(self),
            trail=lambda: TRAIL,
            request_timeout=request_timeout,
            clock=FixedClock(NOW),
            service_version=VERSION,
            counters=self.counters,
            replicas=self.replicas,
            figures=self.figures,
            primaries=self.primaries,
        )

    async def _ping(self) -> None:
        if not self.database_answers:
            raise StoreUnavailable

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Talk to the API as the caller whose token this is."""
        transport = httpx.ASGITransport(app=self.app(**options), raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://lalepass", headers=self.authorization
        ) as client:
            yield client

    @asynccontextmanager
    async def follower(self, token: str = "", **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Talk to the API as a homeserver that follows the accounts."""
        async with self.client(**options) as client:
            client.headers["Authorization"] = f"Bearer {token or self.feed_token}"
            yield client


class Room:
    """The hasher, as HTTP sees it."""

    binding = "avx512"
    lost: Mapping[str, int] = {"time": 9, "ended": 10}

    def __init__(self, world: World) -> None:
        self._world = world

    def load(self) -> HasherLoad:
        return LOAD

    def admit(self, *, coming: int) -> None:
        del coming
        if self._world.full is not None:
            raise self._world.full


class HangingUsers(MemoryUsers):
    """A database that never answers."""

    async def credentials(self, *_: object) -> Any:
        await asyncio.Event().wait()


def a_check(
    localpart: str = "alice", password: str = PASSWORD, **more: object
) -> dict[str, object]:
    return {"identifier": {"kind": "user", "localpart": localpart}, "password": password, **more}


async def check(client: httpx.AsyncClient, body: object = None, **options: Any) -> httpx.Response:
    return await client.post(paths.CHECK_CREDENTIALS, json=body or a_check(), **options)


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Every problem has this form, whatever went wrong."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"urn:lalepass:problem:{code}"
    assert problem["title"]
    return problem


def all_logged(records: list[logging.LogRecord]) -> str:
    """Everything that was logged, with what a formatter might not show."""
    return "\n".join(f"{record.getMessage()} {vars(record)}" for record in records)
