"""The parts that the server and the commands share, built from the settings and closed in order.

Only `app` and `cli` use this. Imports happen where a part is built: a command should not wait for
the libraries of parts that it does not need.
"""

# ruff: noqa: PLC0415 - see above

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lalepass_service.faults import ConfigFault, OutsideFault

if TYPE_CHECKING:
    from lalepass_service.adapters.hashing import PasswordHasher
    from lalepass_service.adapters.keys import KeyDirectory, KeyVault, Vault
    from lalepass_service.adapters.sql.engine import Database
    from lalepass_service.adapters.sql.hot import HotPath
    from lalepass_service.adapters.sql.migrate import SchemaState
    from lalepass_service.config import Config
    from lalepass_service.core.callers import CallerRegistry
    from lalepass_service.core.directory import Directory
    from lalepass_service.core.guard import GuardedCheck
    from lalepass_service.core.model import NormalForm, PasswordRecord
    from lalepass_service.core.policy import PasswordPolicy, Unanswered
    from lalepass_service.core.ports import Hasher, SoftLocks, Trail, Users

_LEGACY_SECONDS: Final = 8.0
"""For one foreign record: what the bounds allow takes about half of it on a core of its own."""

_MIX_SECONDS: Final = 600.0
_MAX_PEPPER: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What answers requests."""

    check: "GuardedCheck"
    registry: "CallerRegistry"
    hasher: "PasswordHasher"
    database: "Database"


def check_hashing(config: "Config") -> None:
    """Say whether the hash parameters are acceptable, and the pepper is there.

    Raises:
        ConfigFault: they are not, or it is not.
    """
    from lalepass_service.adapters.hashing import Argon2Parameters
    from lalepass_service.core.errors import InvalidInput

    try:
        Argon2Parameters(memory_kib=config.hashing.memory_kib, iterations=config.hashing.iterations)
    except InvalidInput as error:
        raise ConfigFault(f"hashing: {error}") from error
    read_pepper(config)


def read_pepper(config: "Config") -> bytes:
    """Return Synapse's pepper; nothing if there is none.

    Raises:
        ConfigFault: the file can't be read, or is empty.
    """
    name = config.hashing.synapse_pepper_path
    if not name:
        return b""
    try:
        pepper = Path(name).read_bytes()
    except OSError as error:
        raise ConfigFault(
            f"hashing.synapse_pepper_path: {name}: can't be read: {error.strerror}"
        ) from error
    pepper = pepper.removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(pepper) <= _MAX_PEPPER:
        raise ConfigFault(f"hashing.synapse_pepper_path: {name}: holds no pepper")
    return pepper


def foreign_record(text: str, *, form: "NormalForm", synapse: bool) -> "PasswordRecord":
    """Return a record that another program made, once it is known and bounded.

    Raises:
        UnreadableRecord: it is of no known format, or costs more than a check may cost.
    """
    from lalepass_service.adapters.hashing.formats import foreign

    return foreign(text, form=form, synapse=synapse)


def check_passwords(config: "Config") -> None:
    """Say whether everything that new passwords are held against is there.

    Raises:
        BlocklistUnavailable: a list is missing, damaged or something else.
    """
    with open_policy(config):
        pass


def schema_of(path: Path) -> "SchemaState":
    """Say how the tables in the database compare with this program's.

    Raises:
        OutsideFault: it can't be read.
    """
    from lalepass_service.adapters.sql.migrate import schema_state

    with _database_faults(path):
        return schema_state(path)


def migrate(path: Path) -> None:
    """Make the tables, or bring them up to date.

    Raises:
        OutsideFault: the database can't be written, or this program does not know its tables.
    """
    from lalepass_service.adapters.sql.migrate import upgrade

    with _database_faults(path):
        upgrade(path)


@contextmanager
def _database_faults(path: Path) -> Iterator[None]:
    """Name the file and the cause: whoever runs a command on it can do something about both."""
    from lalepass_service.core.errors import InvalidInput, StoreUnavailable

    try:
        yield
    except InvalidInput as error:
        raise OutsideFault(str(error)) from error
    except StoreUnavailable as error:
        # SQLAlchemy's text repeats the statement; what it wraps says what is wrong.
        why = getattr(error.__cause__, "orig", None) or error.__cause__
        reason = getattr(why, "strerror", None) or why or error
        raise OutsideFault(f"the database {path} can't be used: {reason}") from error


def require_current_schema(config: "Config") -> None:
    """Refuse to work on a database that this program does not know.

    Raises:
        OutsideFault: it has no tables yet, or older ones, or newer ones.
    """
    from lalepass_service.adapters.sql.migrate import SchemaState

    path = config.database.path
    match schema_of(path):
        case SchemaState.CURRENT:
            return
        case SchemaState.EMPTY:
            raise OutsideFault(f"{path} has no tables yet: run `lalepass db migrate`")
        case SchemaState.OUTDATED:
            raise OutsideFault(
                f"{path} is of an older lalepass: make a copy of it, then run `lalepass db migrate`"
            )
        case SchemaState.NEWER:
            raise OutsideFault(
                f"{path} is of a newer lalepass, or of another program: install what made it"
            )


@asynccontextmanager
async def open_database(config: "Config") -> AsyncIterator["Database"]:
    """Open the database, for as long as the context lasts.

    Raises:
        OutsideFault: its tables are not those of this program.
    """
    from lalepass_service.adapters.sql.engine import Database

    require_current_schema(config)
    database = Database.open(config.database.path, busy_timeout=config.database.busy_timeout)
    try:
        yield database
    finally:
        await database.close()


def key_directory(config: "Config") -> "KeyDirectory":
    """Return the folder of the keys, which may not be there yet.

    Raises:
        ConfigFault: none is set.
    """
    from lalepass_service.adapters.keys import KeyDirectory

    if config.keys.directory is None:
        raise ConfigFault('keys.directory is not set: add [keys] directory = "keys"')
    return KeyDirectory(config.keys.directory)


def key_vault(config: "Config") -> "KeyVault":
    """Read the keys.

    Raises:
        ConfigFault: no folder is set.
        OutsideFault: the folder or a file in it is not as it has to be.
    """
    from lalepass_service.adapters.keys import KeyVault

    return KeyVault(key_directory(config))


def vault(config: "Config") -> "Vault":
    """Return what records are wrapped with, if with anything.

    Raises:
        OutsideFault: the keys are not as they have to be.
    """
    from lalepass_service.adapters.keys import NullVault

    return NullVault() if config.keys.directory is None else key_vault(config)


async def require_keys(config: "Config", database: "Database") -> None:
    """Refuse to work on records that can't be read.

    Raises:
        ConfigFault: records are wrapped, and no folder for keys is set.
        OutsideFault: a key that a record needs is missing, or the keys are not as they have to be.
    """
    from lalepass_service.adapters.sql.rewrap import key_usage

    usage = await key_usage(database)
    needed = {key_id: count for key_id, count in usage.items() if key_id is not None}
    if config.keys.directory is None:
        if needed:
            raise ConfigFault(
                f"stored passwords need the key {min(needed)}, and keys.directory is not set"
            )
        return
    missing = sorted(needed.keys() - key_vault(config).ring.ids)
    if missing:
        raise OutsideFault(
            f"the key {missing[0]} is missing in {config.keys.directory}: put its file back; "
            f"stored passwords that can't be read without it: {needed[missing[0]]}"
        )


@asynccontextmanager
async def open_directory(
    config: "Config", *, unanswered: "Unanswered | None" = None
) -> AsyncIterator["Directory"]:
    """Open what an operator changes accounts with.

    Args:
        config: the settings.
        unanswered: told when a password is taken without the answer of the range host; by default
            that is logged.
    """
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
    from lalepass_service.adapters.sql.users import SqlUsers
    from lalepass_service.core.directory import Directory

    with open_policy(config, unanswered=unanswered) as policy:
        async with (
            open_database(config) as database,
            open_hot(config) as hot,
            open_hasher(config, threads=1) as hasher,
        ):
            yield Directory(
                users=SqlUsers(database, vault(config)),
                hasher=hasher,
                locks=SqlSoftLocks(hot),
                clock=SystemClock(),
                policy=policy,
            )


@contextmanager
def open_policy(
    config: "Config", *, unanswered: "Unanswered | None" = None
) -> Iterator["PasswordPolicy"]:
    """Open what new passwords are held against.

    Raises:
        BlocklistUnavailable: a list is missing, damaged or something else.
    """
    from lalepass_service.adapters.blocklist.builtin import BuiltinBlocklist
    from lalepass_service.adapters.blocklist.file import MappedBlocklist
    from lalepass_service.adapters.blocklist.hibp import HibpRange
    from lalepass_service.adapters.blocklist.omissions import Omissions
    from lalepass_service.core.policy import PasswordPolicy

    rules = config.passwords
    with ExitStack() as opened:
        lists = [opened.enter_context(closing(MappedBlocklist.open(p))) for p in rules.blocklists]
        breaches = None
        if rules.breach_range_url:
            breaches = opened.enter_context(closing(HibpRange(rules.breach_range_url)))
        yield PasswordPolicy(
            min_length=rules.min_length,
            max_length=rules.max_length,
            words=rules.words,
            blocklists=[*([BuiltinBlocklist()] if rules.builtin_blocklist else []), *lists],
            breaches=breaches,
            unanswered=unanswered or Omissions(),
        )


@asynccontextmanager
async def open_registry(config: "Config") -> AsyncIterator["CallerRegistry"]:
    """Open what an operator makes tokens with."""
    async with open_database(config) as database:
        yield _registry(database)


@asynccontextmanager
async def open_service(config: "Config") -> AsyncIterator[Service]:
    """Open what answers requests."""
    from lalepass_service.adapters.hashing import usable_cores
    from lalepass_service.adapters.sql.audit import SqlTrail
    from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
    from lalepass_service.adapters.sql.users import SqlUsers

    threads = config.hashing.threads or usable_cores()
    keys = vault(config)
    async with (
        open_database(config) as database,
        open_hot(config) as hot,
        open_hasher(config, threads=threads, decoy_key=keys.derive("decoys")) as hasher,
    ):
        await require_keys(config, database)
        users, locks = SqlUsers(database, keys, hot), SqlSoftLocks(hot)
        await _mix(users, hasher)
        trail = SqlTrail(hot)
        guard = _guard(config, users=users, keys=keys, locks=locks, hasher=hasher, trail=trail)
        async with _in_background(_keep_mixing(users, hasher)), _in_background(trail.run()):
            yield Service(
                check=guard,
                registry=_registry(database, hot),
                hasher=hasher,
                database=database,
            )


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


def _guard(
    config: "Config",
    *,
    users: "Users",
    keys: "Vault",
    locks: "SoftLocks",
    hasher: "Hasher",
    trail: "Trail",
) -> "GuardedCheck":
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.core.check import CredentialCheck
    from lalepass_service.core.digests import Digests
    from lalepass_service.core.guard import GuardedCheck
    from lalepass_service.core.throttle import LocalThrottle, Rate

    clock = SystemClock()
    limits = config.throttle
    return GuardedCheck(
        users=users,
        check=CredentialCheck(users=users, hasher=hasher, clock=clock),
        locks=locks,
        throttle=LocalThrottle(
            source=Rate(burst=limits.source_burst, per_second=limits.source_per_minute / 60),
            caller=Rate(burst=limits.caller_burst, per_second=limits.caller_per_second),
        ),
        digests=Digests(keys.derive("digests")),
        trail=trail,
        clock=clock,
    )


@asynccontextmanager
async def open_hot(config: "Config") -> AsyncIterator["HotPath"]:
    """Open the way to the database that checks take."""
    from lalepass_service.adapters.sql.hot import HotPath

    hot = HotPath.open(config.database.path, busy_timeout=config.database.busy_timeout)
    try:
        yield hot
    finally:
        await hot.close()


@asynccontextmanager
async def _in_background(work: "Coroutine[Any, Any, None]") -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def open_hasher(
    config: "Config", *, threads: int, decoy_key: bytes = b""
) -> AsyncIterator["PasswordHasher"]:
    """Start the hashing threads.

    Raises:
        ConfigFault: the parameters are not acceptable, or the pepper can't be read.
    """
    from lalepass_service.adapters.hashing import (
        Argon2Hasher,
        Argon2Parameters,
        LegacyProcesses,
        PasswordHasher,
    )

    check_hashing(config)
    own = Argon2Hasher(
        parameters=Argon2Parameters(
            memory_kib=config.hashing.memory_kib, iterations=config.hashing.iterations
        ),
        threads=threads,
        max_waiting=config.hashing.max_waiting,
        deadline=config.hashing.deadline_seconds,
    )
    hasher = PasswordHasher(
        own=own,
        legacy=LegacyProcesses(seconds=_LEGACY_SECONDS),
        # The same at each start, or a name without a record would change its decoy and so its time.
        decoy_key=decoy_key or secrets.token_bytes(32),
        pepper=read_pepper(config),
    )
    try:
        yield hasher
    finally:
        hasher.close()


def _registry(database: "Database", hot: "HotPath | None" = None) -> "CallerRegistry":
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.adapters.sql.callers import SqlCallers
    from lalepass_service.core.callers import CallerRegistry

    return CallerRegistry(callers=SqlCallers(database, hot), clock=SystemClock())
