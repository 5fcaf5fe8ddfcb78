"""What answers requests."""

# ruff: noqa: PLC0415 - see the package

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lalepass_service.parts.background import in_background
from lalepass_service.parts.database import open_database, open_hot, open_store
from lalepass_service.parts.feed import Followers, open_followers
from lalepass_service.parts.hashing import open_hasher
from lalepass_service.parts.house import Chore, keep_house
from lalepass_service.parts.keys import require_keys, vault
from lalepass_service.parts.operators import registry
from lalepass_service.parts.replicas import open_lag, open_replicas
from lalepass_service.parts.trail import TrailState, open_copy, state_of
from lalepass_service.parts.valkey import Counters, local_throttle, open_counters

if TYPE_CHECKING:
    from lalepass_service.adapters.hashing import PasswordHasher
    from lalepass_service.adapters.hashing.bindings import Binding
    from lalepass_service.adapters.keys import Vault
    from lalepass_service.adapters.sql.audit import SqlTrail
    from lalepass_service.adapters.sql.engine import Database
    from lalepass_service.adapters.sql.hot import Hot, Reads
    from lalepass_service.adapters.sql.lag import Lag
    from lalepass_service.adapters.sql.primaries import Primaries
    from lalepass_service.adapters.sql.replica import ReplicaReads
    from lalepass_service.adapters.sql.users import SqlUsers
    from lalepass_service.config import Config
    from lalepass_service.core.callers import CallerRegistry
    from lalepass_service.core.check import CredentialCheck
    from lalepass_service.core.guard import GuardedCheck
    from lalepass_service.core.ports import Clock, Entrance, SoftLocks, Throttle, Trail, Users
    from lalepass_service.core.recent import RecentChecks

_MIX_SECONDS: Final = 600.0
"""How often the decoys are spread anew."""

_FORGET_SECONDS: Final = 1.0
"""How much longer than its time a right password may be remembered."""

_FINISH_SECONDS: Final = 2.0
"""For checks at the end whose callers are gone, and as long again for those that are stopped then
to notice: with all the rest, less than the ten seconds after which containers are killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What answers requests."""

    check: "GuardedCheck"
    followers: Followers
    registry: "CallerRegistry"
    hasher: "PasswordHasher"
    database: "Database"
    clock: "Clock"
    trail: "Callable[[], TrailState]"
    """Says how the trail fares."""
    counters: Counters | None
    """What replicas share, where a Valkey is configured."""
    replicas: "ReplicaReads | None"
    """Reads from standbys, where there are any."""
    lag: "Lag | None"
    """How far those are behind."""
    hot: "Hot"
    """The way to the database that checks take."""
    primaries: "Primaries | None"
    """Which server is written to, where the database is on one."""


@asynccontextmanager
async def open_service(
    config: "Config", *, binding: "Binding | None" = None
) -> AsyncIterator[Service]:
    """Open what answers requests. For `binding` see `open_hasher`."""
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.adapters.hashing import usable_cores
    from lalepass_service.adapters.sql.acts import no_copy
    from lalepass_service.adapters.sql.audit import SqlTrail
    from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
    from lalepass_service.adapters.sql.turns import SqlTurns
    from lalepass_service.adapters.sql.users import SqlUsers
    from lalepass_service.core.check import CredentialCheck
    from lalepass_service.core.recent import RecentChecks

    threads = config.hashing.threads or usable_cores()
    keys = vault(config)
    decoys = keys.derive("decoys")
    async with (
        open_store(config) as store,
        open_database(config, store) as database,
        open_hot(config, store) as hot,
        open_replicas(config, hot, of=store) as replicas,
        open_lag(config, of=store) as lag,
        open_hasher(config, threads=threads, decoy_key=decoys, binding=binding) as hasher,
        open_followers(config, hot, at=store) as followers,
        open_copy(config) as copy,
        open_counters(config, keys, unlocks=SqlSoftLocks(hot)) as counters,
    ):
        await require_keys(config, database)
        # What this process changes itself, those who wait hear of at once.
        reads = replicas or hot
        users = SqlUsers(database, keys, reads, copy=lambda _: followers.watch.notice())
        locks = SqlSoftLocks(hot)
        await _mix(users, hasher)
        trail = SqlTrail(hot, copy=copy or no_copy)
        recent = RecentChecks(seconds=config.check.cache_seconds)
        check = CredentialCheck(users=users, hasher=hasher, clock=SystemClock(), recent=recent)
        paid = counters.locks if counters else locks
        guard = _guard(
            check=check,
            entrance=_entrance(config, hot=hot, reads=reads, users=users, locks=paid),
            throttle=counters.throttle if counters else local_throttle(config),
            keys=keys,
            locks=paid,
            trail=trail,
        )
        async with (
            in_background(partial(_keep_mixing, users, hasher)),
            in_background(partial(_keep_forgetting, recent, config.check.cache_seconds)),
            in_background(
                partial(
                    keep_house,
                    SqlTurns(hot),
                    {**_chores(config, locks, trail, counters), **followers.chores()},
                )
            ),
            in_background(trail.run),
            # First of all: what these come to belongs in the trail.
            _finishing(guard),
        ):
            yield Service(
                check=guard,
                followers=followers,
                registry=registry(database, reads),
                hasher=hasher,
                database=database,
                clock=SystemClock(),
                trail=partial(state_of, trail, copy),
                counters=counters,
                replicas=replicas,
                lag=lag,
                hot=hot,
                primaries=None if isinstance(store, Path) else store.primaries,
            )


def _entrance(
    config: "Config", *, hot: "Hot", reads: "Reads", users: "SqlUsers", locks: "SoftLocks"
) -> "Entrance":
    """Return the way in: one transaction on a file with its lanes; a trip to each otherwise."""
    from lalepass_service.adapters.entrance import StagedEntrance
    from lalepass_service.adapters.sql.entrance import SqlEntrance, SqlLookup
    from lalepass_service.adapters.sql.softlocks import SqlSoftLocks

    if isinstance(locks, SqlSoftLocks) and not config.database.url:
        return SqlEntrance(hot, users)
    return StagedEntrance(SqlLookup(reads, users), locks)


def _guard(
    *,
    check: "CredentialCheck",
    entrance: "Entrance",
    throttle: "Throttle",
    keys: "Vault",
    locks: "SoftLocks",
    trail: "Trail",
) -> "GuardedCheck":
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.core.digests import Digests
    from lalepass_service.core.guard import GuardedCheck

    return GuardedCheck(
        check=check,
        entrance=entrance,
        locks=locks,
        throttle=throttle,
        digests=Digests(keys.derive("digests")),
        trail=trail,
        clock=SystemClock(),
    )


@asynccontextmanager
async def _finishing(guard: "GuardedCheck") -> AsyncIterator[None]:
    """Let what was begun come to an end."""
    try:
        yield
    finally:
        await guard.finish(seconds=_FINISH_SECONDS)


async def _mix(users: "Users", hasher: "PasswordHasher") -> None:
    """Spread the decoys like the records are now."""
    hasher.set_mix(await users.schemes())


async def _keep_mixing(users: "Users", hasher: "PasswordHasher") -> None:
    from lalepass_service.core.errors import NoAnswer

    while True:
        await asyncio.sleep(_MIX_SECONDS)
        # The mix changes as slowly as people log in for the first time; an old one will do.
        with suppress(NoAnswer):
            await _mix(users, hasher)


async def _keep_forgetting(recent: "RecentChecks", seconds: int) -> None:
    """Drop right passwords whose time is over, also of those who do not come again."""
    while seconds:
        await asyncio.sleep(_FORGET_SECONDS)
        recent.forget_old()


def _chores(
    config: "Config", locks: "SoftLocks", trail: "SqlTrail", counters: Counters | None
) -> "dict[str, Chore]":
    """Return what forgets the old: names that somebody guessed at, sources, the trail."""
    from lalepass_service.core.softlock import KNOWN_FOR

    keep = timedelta(days=config.audit.keep_days)
    chores: dict[str, Chore] = {
        "locks": lambda now: locks.sweep(before=now - KNOWN_FOR),
        "trail": lambda now: trail.forget(before=now - keep),
    }
    if counters is not None:
        shared = counters.locks
        chores["counters"] = lambda now: shared.sweep(before=now - KNOWN_FOR)
    return chores
