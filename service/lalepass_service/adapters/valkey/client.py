"""Connections to Valkey: every wait bounded, every answer capped, no secret in a text.

Who gets no answer in time opens a breaker: a Valkey that hangs costs those who wait for it at that
moment their time limit, and nobody after them anything. `watch` closes it again.
"""

import asyncio
import logging
import secrets
import ssl
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final

from valkey import exceptions
from valkey.asyncio import Connection

from lalepass_service.adapters.valkey.connections import (
    Reply,
    Target,
    Word,
    answers,
    open_pool,
)
from lalepass_service.core.errors import LalepassError, StoreUnavailable

_log: Final = logging.getLogger(__name__)


_LOOK_SECONDS: Final = 1.0
_LOOK_AGAIN_SECONDS: Final = 0.5
_EPOCH_BYTES: Final = 16
_ON_PURPOSE: Final = b"anew"
"""What the name of data begins with that an operator has begun anew; one that is random does so
once in four thousand million times."""

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Seconds: the upper bounds of the counts in `Latency`."""


class Lost(StoreUnavailable):
    """Valkey did not answer, not in time, or not as it should."""

    def __init__(self, why: str) -> None:
        LalepassError.__init__(self, f"Valkey gives no answer: {why}")
        self.why = why


class Script:
    """A program that Valkey runs in one step, named by its digest once it is known there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class Latency:
    """How long trips took."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    """One for each of BUCKETS, and one for what was slower."""
    total: float = 0.0

    def took(self, seconds: float) -> None:
        """Count a trip."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


class Client:
    """Runs commands, as long as Valkey answers."""

    def __init__(self, target: Target, *, prefix: str, timeout: float) -> None:
        """Connect to nothing yet.

        Args:
            target: where it is.
            prefix: what all keys begin with.
            timeout: seconds for a connection to be made, and for each answer.
        """
        self.prefix = prefix
        self.latency = Latency()
        self.up = True
        """Whether it is asked at all. It is until it fails."""
        self.losses = 0
        """How often it has failed while it was up."""
        self.epoch: bytes | None = None
        """The name of its data, another one when they were lost; None before the first look."""
        self.emptied = 0
        """How often its data were found lost."""
        self.changed = asyncio.Event()
        """Set when it has come back, or come back empty."""
        self.forget: Callable[[bytes], None] = _nothing
        """Called when an operator has begun anew, with the name of the data that were there."""
        self._timeout = timeout
        self._epoch_key = f"{prefix}:1:epoch"
        self._pool = open_pool(target, timeout=timeout, greet=self._greet)

    async def ask(self, *commands: Sequence[Word]) -> list[Reply]:
        """Send commands in one trip and return their answers.

        Raises:
            Lost: there was no answer, or an error among them.
            NoScriptError: a script is not known there, see `run`.
        """
        if not self.up:
            raise Lost("it is not asked again before it is well")
        try:
            return await self._ask(commands)
        except Lost as lost:
            self._down(lost)
            raise

    async def read(self, *commands: Sequence[Word]) -> list[Reply]:
        """As `ask`, and know of which data the answers are.

        They may have been lost since the last look, without a connection that has ended: an account
        that has nothing would pass for one with a clean slate.
        """
        *replies, epoch = await self.ask(*commands, ("GET", self._epoch_key))
        try:
            await self._met(epoch)
        except Lost as lost:
            self._down(lost)
            raise
        return replies

    async def run(self, script: Script, key: str, *words: Word) -> Reply:
        """Run a script on one key.

        Raises:
            Lost: as above.
        """
        (reply,) = await self.run_all(script, [(key, *words)])
        return reply

    async def run_all(self, script: Script, calls: Sequence[Sequence[Word]]) -> list[Reply]:
        """Run a script on one key after another, in one trip.

        Raises:
            Lost: as above.
        """
        commands = [("EVALSHA", script.digest, 1, *call) for call in calls]
        try:
            return await self.ask(*commands)
        except exceptions.NoScriptError:
            # After a restart, or never seen there. None of them was run.
            await self.ask(("SCRIPT", "LOAD", script.text))
        try:
            return await self.ask(*commands)
        except exceptions.NoScriptError:
            raise Lost("it forgets what it was told a moment ago") from None

    async def watch(self) -> None:
        """Look after it until this is cancelled: whether it answers, and has kept its data."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS if self.up else _LOOK_AGAIN_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Find out whether it can be written to, and which data it has.

        If it was not well, on a new connection, and so is all that follows: after a failover those
        that are there may lead to what is a replica by now, which answers and never gets well.
        """
        try:
            if not self.up:
                await self._leave()
            _, epoch = await self._ask(self._epoch_commands())
            await self._met(epoch)
        except Lost as lost:
            self._down(lost)
            return
        if not self.up:
            self.up = True
            _log.warning("Valkey answers again")
            self.changed.set()

    async def name_anew(self) -> None:
        """Give the data another name, by which all who have seen them forget what they saw.

        Raises:
            Lost: there was no answer.
        """
        name = _ON_PURPOSE + secrets.token_bytes(_EPOCH_BYTES - len(_ON_PURPOSE))
        await self.ask(("SET", self._epoch_key, name))

    async def warnings(self) -> Sequence[str]:
        """Say what is not as it should be with its settings, as far as it tells."""
        try:
            memory, kept = await self._ask((("INFO", "memory"), ("INFO", "persistence")))
        except Lost as lost:
            return [f"does not tell how it is set: {lost.why}"] if self.up else []
        facts = _facts(memory) | _facts(kept)
        found = []
        if facts.get("maxmemory_policy") != "noeviction":
            found.append("may drop counters when it is full: set maxmemory-policy to noeviction")
        if facts.get("aof_enabled") != "1":
            found.append("forgets counters when it ends: set appendonly to yes")
        return found

    async def close(self) -> None:
        """Close the connections."""
        self.up = False
        await self._pool.disconnect()

    def _down(self, lost: Lost) -> None:
        if self.up:
            self.up = False
            self.losses += 1
            _log.error("%s; guesses are counted by each replica alone until it does", lost)

    async def _ask(self, commands: Sequence[Sequence[Word]]) -> list[Reply]:
        began = time.perf_counter()
        try:
            # The second fence: a connection may have to be waited for, and then be made.
            async with asyncio.timeout(2 * self._timeout):
                try:
                    return await self._trip(commands)
                except exceptions.NoScriptError:
                    raise
                except exceptions.ConnectionError as error:
                    if type(error) is not exceptions.ConnectionError or _is_of_tls(error):
                        raise  # such as a wrong password: it will not be another one
                    # It was open when it was last used. All that is asked here may be asked twice.
                    return await self._trip(commands)
        except exceptions.NoScriptError:
            raise
        except (exceptions.ValkeyError, OSError, ValueError, RecursionError) as error:
            raise Lost(_reason(error)) from None
        finally:
            self.latency.took(time.perf_counter() - began)

    async def _trip(self, commands: Sequence[Sequence[Word]]) -> list[Reply]:
        connection = await self._pool.get_connection("")  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            return await answers(connection, len(commands))
        finally:
            await self._pool.release(connection)

    async def _leave(self) -> None:
        """Close the connections that nobody is using now."""
        with suppress(exceptions.ValkeyError, OSError):
            await self._pool.disconnect(inuse_connections=False)

    async def _greet(self, connection: Connection) -> None:
        """Log in, and see which data there are before anything is asked of them."""
        await connection.on_connect()
        await connection.send_packed_command(connection.pack_commands(self._epoch_commands()))
        _, epoch = await answers(connection, 2)
        await self._met(epoch)

    def _epoch_commands(self) -> Sequence[Sequence[Word]]:
        """Name the data if they have no name. It is a write, so it fails where those would."""
        fresh = secrets.token_bytes(_EPOCH_BYTES)
        return ("SET", self._epoch_key, fresh, "NX"), ("GET", self._epoch_key)

    async def _met(self, epoch: Reply) -> None:
        """Take down which data there are.

        Raises:
            Lost: they have no name.
        """
        if not isinstance(epoch, bytes) or len(epoch) != _EPOCH_BYTES:
            raise Lost("it has not kept what was written")
        before, self.epoch = self.epoch, epoch
        if before in {None, epoch}:
            return
        if epoch.startswith(_ON_PURPOSE):
            _log.warning("wrong passwords are counted anew in Valkey, as an operator has said")
            self.forget(before)
            return
        self.emptied += 1
        _log.error("Valkey has lost its data: wrong passwords that this process saw are put back")
        self.changed.set()
        # Some may lead to where those of before still are, and turn it back with each question.
        await self._leave()


def _nothing(_epoch: bytes) -> None:
    """Know nothing that could be forgotten."""


def _facts(info: Reply) -> dict[str, str]:
    """Read what INFO says: lines with a colon."""
    lines = info.decode(errors="replace").splitlines() if isinstance(info, bytes) else ()
    return dict(line.split(":", 1) for line in lines if ":" in line)


_REASONS: Final[Sequence[tuple[type[Exception], str]]] = (
    (exceptions.TimeoutError, "it did not answer in time"),
    (TimeoutError, "it did not answer in time"),
    (exceptions.AuthenticationError, "it does not accept the password"),
    (exceptions.NoPermissionError, "it does not allow this user a command"),
    (exceptions.OutOfMemoryError, "it is full"),
    (exceptions.ReadOnlyError, "it is a read-only replica"),
    (exceptions.BusyLoadingError, "it is still loading its data"),
    (exceptions.MovedError, "it is one of a cluster, which needs a proxy"),
    (exceptions.ConnectionError, "it can't be reached"),
    (ssl.SSLError, "its certificate is not trusted"),
    (exceptions.ResponseError, "it answered with an error"),
)


def _reason(error: Exception) -> str:
    """Say why in our words: an error's own text may repeat what was sent."""
    if _is_of_tls(error):
        return "its certificate is not trusted"
    for kind, why in _REASONS:
        if isinstance(error, kind):
            return why
    return f"it can't be understood ({type(error).__name__})"


def _is_of_tls(error: BaseException | None) -> bool:
    """Whether it comes of the encryption: the library wraps that in an error of its own."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None
