"""Runs one piece of work against the database, and closes everything behind it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from lalepass_service.cli import console
from lalepass_service.cli.acting import operator
from lalepass_service.core.audit import Entry, Event, Fact
from lalepass_service.core.errors import BreachRangeUnavailable, NoAnswer
from lalepass_service.faults import OutsideFault

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.audit import SqlTrail
    from lalepass_service.adapters.sql.engine import Database
    from lalepass_service.config import Config
    from lalepass_service.core.callers import CallerRegistry
    from lalepass_service.core.directory import Directory

_Result = TypeVar("_Result")


def require_database(config: "Config") -> None:
    """Find out now, and not after a long dialogue, that there is nothing to work on.

    Raises:
        OutsideFault: its tables are not those of this program, or the keys are not as they have
            to be.
        BlocklistUnavailable: a list that new passwords are held against is not there.
    """
    # Here and below: SQLAlchemy takes half a second to import.
    from lalepass_service import parts  # noqa: PLC0415

    parts.require_current_schema(config)
    parts.vault(config)
    parts.check_passwords(config)
    parts.check_copy(config)
    parts.check_valkey(config)


def check_keys(config: "Config") -> str:
    """Say where the keys are, if they are all there. An existing database is asked which it needs.

    Raises:
        OutsideFault: one is missing, or the folder is not as it has to be.
    """
    from lalepass_service import parts  # noqa: PLC0415

    async def run() -> None:
        async with parts.open_database(config) as database:
            await parts.require_keys(config, database)

    parts.vault(config)
    if parts.schema_of(parts.store_of(config)).usable:
        _run(config, run())
    return f"in {config.keys.directory}" if config.keys.directory else "not set"


def retired_keys(config: "Config") -> frozenset[str]:
    """Return the keys that were retired, as the database knows them; none if there is no database.

    Raises:
        OutsideFault: the database did not answer, or not in time.
    """
    from lalepass_service import parts  # noqa: PLC0415
    from lalepass_service.adapters.sql.retired import retired_keys  # noqa: PLC0415

    if not parts.schema_of(parts.store_of(config)).usable:
        return frozenset()
    return on_database(config, retired_keys)


def on_database(config: "Config", work: Callable[["Database"], Awaitable[_Result]]) -> _Result:
    """Do something with the database itself."""
    from lalepass_service.parts import open_database  # noqa: PLC0415

    async def run() -> _Result:
        async with open_database(config) as database:
            return await work(database)

    return _run(config, run())


def _run(config: "Config", work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run it to its end, and say what is wrong with the database if it is that.

    Raises:
        OutsideFault: the database did not answer, or not in time.
    """
    from lalepass_service.parts import store_faults, store_of  # noqa: PLC0415

    with store_faults(store_of(config)):
        return asyncio.run(work)


def acts_on_files(config: "Config") -> Callable[[Event, Mapping[str, Fact]], None]:
    """Return what writes an act on files into the trail. To be called when the act is done.

    Files and the database can't change in one step. So it is found out before the act whether the
    trail can be written; should that fail afterwards all the same, the operator is told.

    Raises:
        OutsideFault: the database is not one of this program.
    """
    from lalepass_service import parts  # noqa: PLC0415
    from lalepass_service.adapters.sql.migrate import SchemaState  # noqa: PLC0415

    parts.check_copy(config)
    store = parts.store_of(config)
    if parts.schema_of(store) is SchemaState.EMPTY:
        return _say_that_there_is_no_trail
    parts.require_current_schema(config, store)
    return partial(_record, config)


def _record(config: "Config", event: Event, details: Mapping[str, Fact]) -> None:
    from lalepass_service.parts import open_acts  # noqa: PLC0415

    async def run() -> None:
        async with open_acts(config, uncopied=warn_of_no_copy) as acts:
            await acts.record(act_now(event, details))

    try:
        _run(config, run())
    except (NoAnswer, OutsideFault) as error:
        raise OutsideFault(
            f"it is done, but could not be written into the trail: {error}"
        ) from error


def act_now(event: Event, details: Mapping[str, Fact]) -> Entry:
    """Return the entry of something that the operator does now."""
    from lalepass_service.adapters.clock import SystemClock  # noqa: PLC0415

    return operator().act(event, at=SystemClock().now(), details=details)


def _say_that_there_is_no_trail(_event: Event, _details: Mapping[str, Fact]) -> None:
    console.explain("lalepass: warning: there is no database yet, and so no trail of this")


def on_directory(config: "Config", work: Callable[["Directory"], Awaitable[_Result]]) -> _Result:
    """Do something with the accounts."""
    from lalepass_service.parts import open_directory  # noqa: PLC0415

    async def run() -> _Result:
        async with open_directory(
            config, by=operator(), unanswered=_warn, uncopied=warn_of_no_copy
        ) as directory:
            return await work(directory)

    return _run(config, run())


def _warn(error: BreachRangeUnavailable) -> None:
    """Whoever sets a password should know which of the rules was left out."""
    console.explain(f"lalepass: warning: the password was not looked up: {error}")


def warn_of_no_copy(error: OSError) -> None:
    """Say that what was done is in the trail only."""
    console.explain(
        f"lalepass: warning: it is in the trail, but could not be copied: {error.strerror}"
    )


def on_trail(config: "Config", work: Callable[["SqlTrail"], Awaitable[_Result]]) -> _Result:
    """Do something with the trail."""
    from lalepass_service.parts import open_trail  # noqa: PLC0415

    async def run() -> _Result:
        async with open_trail(config) as trail:
            return await work(trail)

    return _run(config, run())


def on_registry(
    config: "Config", work: Callable[["CallerRegistry"], Awaitable[_Result]]
) -> _Result:
    """Do something with the tokens."""
    from lalepass_service.parts import open_registry  # noqa: PLC0415

    async def run() -> _Result:
        async with open_registry(config, uncopied=warn_of_no_copy) as registry:
            return await work(registry)

    return _run(config, run())
