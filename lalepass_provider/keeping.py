"""Keeps the file of `state.py` up to date, without writing all the time."""

import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from twisted.internet import defer

from lalepass_provider.background import Background, Chore
from lalepass_provider.locks import Knowledge
from lalepass_provider.state import State, UnusableState, load, save, written

logger = logging.getLogger(__name__)

_SETTLE: Final = 1.0
"""Seconds from a change until it is written: many come together."""

_BETWEEN: Final = 5.0
"""Seconds between two writings. The file may be old: what came after it comes again."""

_AFTER_FAILURE: Final = 60.0

_PATIENCE: Final = 5.0
"""Seconds for a writing, which takes some milliseconds. A disk that hangs must not hold up the
orders to sign out, which are noted in this file."""

_MAX_UNDER_WAY: Final = 3
"""Writings that have not ended. Each is a thread, and holds the names."""


class StateKeeper:
    """Reads the file at start, and writes it when something has changed."""

    def __init__(
        self,
        *,
        path: Path,
        server_name: str,
        knowledge: Knowledge,
        background: Background,
    ) -> None:
        self._path = path
        self._server_name = server_name
        self._knowledge = knowledge
        self._background = background
        self._changed = False
        self._failing = False
        self._states = 0
        """How many were taken down to be written."""
        self._under_way = 0
        self._file = _File(path)
        self._chore = Chore(background, "state", self._work)
        self._orders_done = _none

    def remember(self, orders_done: Callable[[], tuple[str, ...]]) -> None:
        """Say who knows the orders that were done: they are written as well."""
        self._orders_done = orders_done

    def load(self) -> tuple[str, ...]:
        """Put what the file holds into force, and return the orders that were done. Blocks.

        A million names take a tenth of a second. A file that can't be used is none.
        """
        try:
            state = load(self._path, server_name=self._server_name)
        except UnusableState as exc:
            logger.error(  # noqa: TRY400 - the sentence says it all
                "%s is not used, so nobody is locked until Lalepass is reached: %s", self._path, exc
            )
            return ()
        if state is None:
            return ()
        self._knowledge.locked, self._knowledge.cursor = state.locked(), state.cursor
        self._knowledge.profiles = state.profiles
        logger.info("%d accounts are locked, says %s", len(self._knowledge.locked), self._path)
        return state.orders_done

    def changed(self) -> None:
        """Say that the file is to be written soon."""
        self._changed = True
        self._chore.wake()

    async def save(self) -> None:
        """Write the file now, if there is something to write. A failure is only logged.

        Returns in time, if need be without the file. Of several at once, the one that was called
        last is what the file holds in the end.
        """
        cursor = self._knowledge.cursor
        if cursor is None:
            return
        if self._under_way >= _MAX_UNDER_WAY:
            self._failed("those before have not ended")
            return
        self._changed = False
        self._states += 1
        write = partial(self._write, self._states, self._state(cursor))
        try:
            await self._background.within("state_file", write, seconds=_PATIENCE)
        except defer.TimeoutError:
            self._failed(f"the disk has not answered in {_PATIENCE:.0f} s")
        except OSError as exc:
            self._failed(exc.strerror or type(exc).__name__)
        except Exception as exc:  # noqa: BLE001 - such as no more threads; the next try may do
            self._failed(f"{type(exc).__name__}: {exc}")
        else:
            self._failing = False

    def _state(self, cursor: str) -> State:
        locked = self._knowledge.locked
        return State(
            cursor=cursor,
            key=locked.key,
            digests=locked.digests(),
            orders_done=self._orders_done(),
            profiles=self._knowledge.profiles,
        )

    async def _write(self, number: int, state: State) -> None:
        self._under_way += 1
        try:
            await self._background.in_thread(
                lambda: self._file.write(
                    number, lambda: written(state, server_name=self._server_name)
                )
            )
        finally:
            self._under_way -= 1

    def _failed(self, why: str) -> None:
        self._changed = True
        if not self._failing:
            logger.error("%s can't be written: %s", self._path, why)
        self._failing = True
        self._chore.wake()

    async def end(self) -> None:
        """Write what is not written yet."""
        # What is under way is in a thread that dies with the process, so it is waited for, too;
        # as long as the process's end is held up, and no longer.
        if self._changed or self._under_way:
            await self.save()

    async def _work(self) -> None:
        while self._changed:
            await self._background.pause(_SETTLE)
            await self.save()
            await self._background.pause(_AFTER_FAILURE if self._failing else _BETWEEN)


class _File:
    """Written by one thread at a time; what is older than what it holds is left out.

    Three threads at most wait here (`_MAX_UNDER_WAY`): for the one that follows changes, the orders
    and the end, or what was left behind on a disk that hangs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._holds = 0

    def write(self, number: int, content: Callable[[], bytes]) -> None:
        """Write a state, by its number. Blocks; raises OSError if it can't be written."""
        with self._lock:
            if number > self._holds:
                save(self._path, content())
                self._holds = number


def _none() -> tuple[str, ...]:
    return ()
