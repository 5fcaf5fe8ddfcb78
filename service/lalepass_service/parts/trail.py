"""The trail and its copy."""

# ruff: noqa: PLC0415 - see the package

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lalepass_service.faults import ConfigFault

if TYPE_CHECKING:
    from lalepass_service.adapters.jsonlines import TrailCopy
    from lalepass_service.adapters.sql.acts import Copy
    from lalepass_service.adapters.sql.audit import SqlTrail
    from lalepass_service.config import Config
    from lalepass_service.core.audit import Entry

_log = logging.getLogger(__name__)

Uncopied = Callable[[OSError], None]
"""Told that an entry of an act is in the trail and not in its copy."""


@dataclass(frozen=True, slots=True)
class TrailState:
    """How the trail fares. Implements `http.trail.Trail`."""

    waiting: int
    lost: int
    copy_failures: int
    copy_lost: int


def check_copy(config: "Config") -> None:
    """Say whether the trail can be copied, as far as one can tell without doing it.

    Raises:
        ConfigFault: the folder is not there, or it or the file can't be written.
    """
    path = config.audit.copy_path
    if path is None:
        return
    if not path.parent.is_dir():
        raise _fault(path, f"{path.parent} is no folder")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise _fault(path, "it is no regular file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _fault(path, "it can't be written")


@asynccontextmanager
async def open_copy(config: "Config") -> AsyncIterator["TrailCopy | None"]:
    """Open the copy that the service writes, if there is to be one.

    Raises:
        ConfigFault: it can't be written.
    """
    from lalepass_service.adapters.jsonlines import TrailCopy

    path = config.audit.copy_path
    if path is None:
        yield None
        return
    check_copy(config)
    try:
        copy = TrailCopy.start(path)
    except OSError as error:
        raise _fault(path, error.strerror or str(error)) from error
    try:
        yield copy
    finally:
        # It waits for the disk, and the loop has other things to end meanwhile.
        await asyncio.to_thread(copy.close)


@contextmanager
def copy_of_acts(config: "Config", *, uncopied: Uncopied | None = None) -> Iterator["Copy"]:
    """Lend what copies the acts of a command, each at once.

    Raises:
        ConfigFault: it can't be written, so that the command had better not begin.
    """
    from lalepass_service.adapters.jsonlines import LineFile
    from lalepass_service.adapters.sql.acts import no_copy

    path = config.audit.copy_path
    if path is None:
        yield no_copy
        return
    check_copy(config)
    file = LineFile(path)

    def copy(entry: "Entry") -> None:
        try:
            file.look()
            file.append(entry)
        except OSError as error:
            # The change is made, and stands in the trail: it must not look as if it had failed.
            (uncopied or _log_uncopied)(error)

    try:
        yield copy
    finally:
        file.close()


def state_of(trail: "SqlTrail", copy: "TrailCopy | None") -> TrailState:
    """Return how the trail fares now."""
    return TrailState(
        waiting=trail.waiting,
        lost=trail.lost,
        copy_failures=0 if copy is None else copy.failures,
        copy_lost=0 if copy is None else copy.lost,
    )


def _log_uncopied(error: OSError) -> None:
    _log.error("an act could not be copied: %s", error)


def _fault(path: Path, why: str) -> ConfigFault:
    return ConfigFault(f"audit.copy_path: {path}: {why}")
