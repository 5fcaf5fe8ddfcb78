"""The parts that the server and the commands share, built from the settings and closed in order.

Only `app` and `cli` use this. Imports happen where a part is built: a command should not wait for
the libraries of parts that it does not need.
"""

# ruff: noqa: PLC0415 - see above

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lalepass_service.faults import ConfigFault, OutsideFault

if TYPE_CHECKING:
    from lalepass_service.adapters.hashing import Argon2Hasher
    from lalepass_service.adapters.sql.engine import Database
    from lalepass_service.adapters.sql.migrate import SchemaState
    from lalepass_service.config import Config
    from lalepass_service.core.callers import CallerRegistry
    from lalepass_service.core.check import CredentialCheck
    from lalepass_service.core.directory import Directory
    from lalepass_service.core.policy import PasswordPolicy, Unanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What answers requests."""

    check: "CredentialCheck"
    registry: "CallerRegistry"
    hasher: "Argon2Hasher"
    database: "Database"


def check_hashing(config: "Config") -> None:
    """Say whether the hash parameters are acceptable.

    Raises:
        ConfigFault: they are not.
    """
    from lalepass_service.adapters.hashing import Argon2Parameters
    from lalepass_service.core.errors import InvalidInput

    try:
        Argon2Parameters(memory_kib=config.hashing.memory_kib, iterations=config.hashing.iterations)
    except InvalidInput as error:
        raise ConfigFault(f"hashing: {error}") from error


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
    from lalepass_service.adapters.sql.users import SqlUsers
    from lalepass_service.core.directory import Directory

    with open_policy(config, unanswered=unanswered) as policy:
        async with open_database(config) as database, open_hasher(config, threads=1) as hasher:
            yield Directory(
                users=SqlUsers(database), hasher=hasher, clock=SystemClock(), policy=policy
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
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.adapters.hashing import usable_cores
    from lalepass_service.adapters.sql.users import SqlUsers
    from lalepass_service.core.check import CredentialCheck

    threads = config.hashing.threads or usable_cores()
    async with open_database(config) as database, open_hasher(config, threads=threads) as hasher:
        yield Service(
            check=CredentialCheck(users=SqlUsers(database), hasher=hasher, clock=SystemClock()),
            registry=_registry(database),
            hasher=hasher,
            database=database,
        )


@asynccontextmanager
async def open_hasher(config: "Config", *, threads: int) -> AsyncIterator["Argon2Hasher"]:
    """Start the hashing threads.

    Raises:
        ConfigFault: the parameters are not acceptable.
    """
    from lalepass_service.adapters.hashing import Argon2Hasher, Argon2Parameters

    check_hashing(config)
    hasher = Argon2Hasher(
        parameters=Argon2Parameters(
            memory_kib=config.hashing.memory_kib, iterations=config.hashing.iterations
        ),
        threads=threads,
        max_waiting=config.hashing.max_waiting,
        deadline=config.hashing.deadline_seconds,
    )
    try:
        yield hasher
    finally:
        hasher.close()


def _registry(database: "Database") -> "CallerRegistry":
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.adapters.sql.callers import SqlCallers
    from lalepass_service.core.callers import CallerRegistry

    return CallerRegistry(callers=SqlCallers(database), clock=SystemClock())
