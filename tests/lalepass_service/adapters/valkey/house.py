"""Keepers of lanes on a real Valkey."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from lalepass_service.adapters.memory import FixedClock
from lalepass_service.adapters.valkey.client import Client
from lalepass_service.adapters.valkey.connections import Reply, Target, Word
from lalepass_service.adapters.valkey.local import LocalLanes
from lalepass_service.adapters.valkey.shared import SharedSoftLocks
from lalepass_service.adapters.valkey.softlocks import ValkeySoftLocks
from lalepass_service.core.audit import Entry
from lalepass_service.core.digests import Digests
from lalepass_service.core.softlock import NAMES_KEPT
from tests.lalepass_service.accounts import NOW

PREFIX = "test"
DIGESTS = Digests(b"k" * 32)
PATIENT = 30.0
"""Seconds: for tests that are not about waiting, on machines that are busy."""


class NotedUnlocks:
    """The place where accounts are, as far as it has to do with unlocks."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.at: datetime | None = None
        """When the account was last unlocked: of all accounts, since tests have one."""

    async def note_unlock(
        self, account: str, *, act: Entry | None, now: datetime
    ) -> datetime | None:
        del account
        if act is not None:
            self.entries.append(act)
        self.at = now if self.at is None else max(now, self.at + timedelta(microseconds=1))
        return self.at


@dataclass(frozen=True)
class Replica:
    """One process of the service, as far as it has to do with Valkey."""

    client: Client
    valkey: ValkeySoftLocks
    local: LocalLanes
    shared: SharedSoftLocks
    unlocks: NotedUnlocks


def target(url: str) -> Target:
    parts = urlsplit(url)
    return Target(
        host=parts.hostname or "", port=parts.port or 0, database=int(parts.path[1:] or 0)
    )


@asynccontextmanager
async def a_replica(
    url: str, *, of: int = 1, patience: float = PATIENT, names_kept: int = NAMES_KEPT
) -> AsyncIterator[Replica]:
    client = Client(target(url), prefix=PREFIX, timeout=patience)
    local, unlocks = LocalLanes(shares=of), NotedUnlocks()
    valkey = ValkeySoftLocks(client, DIGESTS, unlocks=unlocks, memory=local, names_kept=names_kept)
    shared = SharedSoftLocks(client=client, valkey=valkey, local=local, clock=FixedClock(NOW))
    try:
        yield Replica(client, valkey, local, shared, unlocks)
    finally:
        await valkey.close()
        await client.close()


class Raced(Client):
    """Does something behind somebody's back whenever an account has been read."""

    between: Callable[[str], Awaitable[None]] | None = None
    """Told which key it is."""

    async def ask(self, *commands: Sequence[Word]) -> list[Reply]:
        replies = await super().ask(*commands)
        if commands[0][0] == "HMGET" and self.between is not None:
            await self.between(str(commands[0][1]))
        return replies


@asynccontextmanager
async def in_valkey(
    url: str, client: Client | None = None, *, names_kept: int = NAMES_KEPT
) -> AsyncIterator[ValkeySoftLocks]:
    client = client or Client(target(url), prefix=PREFIX, timeout=PATIENT)
    locks = ValkeySoftLocks(client, DIGESTS, names_kept=names_kept)
    try:
        yield locks
    finally:
        await locks.close()
        await client.close()


@asynccontextmanager
async def in_shared_valkey(
    url: str, *, names_kept: int = NAMES_KEPT
) -> AsyncIterator[SharedSoftLocks]:
    async with a_replica(url, names_kept=names_kept) as replica:
        yield replica.shared
