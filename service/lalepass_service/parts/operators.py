"""What an operator changes accounts and tokens with."""

# ruff: noqa: PLC0415 - see the package

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lalepass_service.parts.database import open_database, open_hot, open_store
from lalepass_service.parts.hashing import open_hasher
from lalepass_service.parts.keys import vault
from lalepass_service.parts.policy import open_policy
from lalepass_service.parts.trail import copy_of_acts
from lalepass_service.parts.valkey import open_lanes

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.acts import Copy, SqlActs
    from lalepass_service.adapters.sql.audit import SqlTrail
    from lalepass_service.adapters.sql.engine import Database
    from lalepass_service.adapters.sql.hot import Reads
    from lalepass_service.config import Config
    from lalepass_service.core.audit import Actor
    from lalepass_service.core.callers import CallerRegistry
    from lalepass_service.core.directory import Directory
    from lalepass_service.core.policy import Unanswered
    from lalepass_service.parts.trail import Uncopied


@asynccontextmanager
async def open_directory(
    config: "Config",
    *,
    by: "Actor",
    unanswered: "Unanswered | None" = None,
    uncopied: "Uncopied | None" = None,
) -> AsyncIterator["Directory"]:
    """Open what an operator changes accounts with.

    Args:
        config: the settings.
        by: the operator, for the trail.
        unanswered: told when a password is taken without the answer of the range host; by default
            that is logged.
        uncopied: told when an act can't be copied; by default that is logged.
    """
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.adapters.sql.sign_ins import SqlSignIns
    from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
    from lalepass_service.adapters.sql.users import SqlUsers
    from lalepass_service.core.directory import Directory

    with (
        open_policy(config, unanswered=unanswered) as policy,
        copy_of_acts(config, uncopied=uncopied) as copy,
    ):
        async with (
            open_store(config) as store,
            open_database(config, store) as database,
            open_hot(config, store, narrow=True) as hot,
            open_hasher(config, threads=1) as hasher,
            open_lanes(config, vault(config), unlocks=SqlSoftLocks(hot, copy=copy)) as lanes,
        ):
            yield Directory(
                users=SqlUsers(database, vault(config), copy=copy),
                hasher=hasher,
                locks=lanes or SqlSoftLocks(hot, copy=copy),
                clock=SystemClock(),
                policy=policy,
                by=by,
                sign_ins=SqlSignIns(hot),
            )


@asynccontextmanager
async def open_registry(
    config: "Config", *, uncopied: "Uncopied | None" = None
) -> AsyncIterator["CallerRegistry"]:
    """Open what an operator makes tokens with."""
    with copy_of_acts(config, uncopied=uncopied) as copy:
        async with open_database(config) as database:
            yield registry(database, copy=copy)


@asynccontextmanager
async def open_acts(
    config: "Config", *, uncopied: "Uncopied | None" = None
) -> AsyncIterator["SqlActs"]:
    """Open what takes down acts on files."""
    from lalepass_service.adapters.sql.acts import SqlActs

    with copy_of_acts(config, uncopied=uncopied) as copy:
        async with open_database(config) as database:
            yield SqlActs(database, copy=copy)


@asynccontextmanager
async def open_trail(config: "Config") -> AsyncIterator["SqlTrail"]:
    """Open the trail, to read it."""
    from lalepass_service.adapters.sql.audit import SqlTrail
    from lalepass_service.parts.database import require_current_schema

    require_current_schema(config)
    async with open_hot(config, narrow=True) as hot:
        yield SqlTrail(hot)


def registry(
    database: "Database", reads: "Reads | None" = None, *, copy: "Copy | None" = None
) -> "CallerRegistry":
    """Return what knows the tokens; with `reads`, on the way that checks take."""
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.adapters.sql.acts import no_copy
    from lalepass_service.adapters.sql.callers import SqlCallers
    from lalepass_service.core.callers import CallerRegistry

    callers = SqlCallers(database, reads, copy=copy or no_copy)
    return CallerRegistry(callers=callers, clock=SystemClock())
