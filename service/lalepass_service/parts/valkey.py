"""Counters in Valkey, where one is configured."""

# ruff: noqa: PLC0415 - see the package

import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from lalepass_service.faults import ConfigFault, OutsideFault
from lalepass_service.parts.background import in_background

if TYPE_CHECKING:
    from lalepass_service.adapters.keys import Vault
    from lalepass_service.adapters.valkey.client import Client
    from lalepass_service.adapters.valkey.connections import Target
    from lalepass_service.adapters.valkey.shared import SharedSoftLocks
    from lalepass_service.adapters.valkey.softlocks import Unlocks, ValkeySoftLocks
    from lalepass_service.adapters.valkey.throttle import SharedThrottle
    from lalepass_service.config import Config
    from lalepass_service.core.throttle import LocalThrottle

_log: Final = logging.getLogger(__name__)

_PORT: Final = 6379
_PATIENCE: Final = 5.0
"""Seconds for each answer, where an operator deletes much and nobody waits to log in."""
_TLS: Final = frozenset({"valkeys", "rediss"})


@dataclass(frozen=True, slots=True)
class Counters:
    """What replicas share. Implements `http.counters.Counters`."""

    client: "Client"
    locks: "SharedSoftLocks"
    throttle: "SharedThrottle"

    @property
    def up(self) -> bool:
        """Whether Valkey answers."""
        return self.client.up

    @property
    def losses(self) -> int:
        """How often it has stopped answering."""
        return self.client.losses

    @property
    def emptied(self) -> int:
        """How often it had lost its data."""
        return self.client.emptied

    @property
    def fallbacks(self) -> int:
        """How many guesses were decided without it."""
        return self.locks.fallbacks

    @property
    def conflicts(self) -> int:
        """How often another replica was quicker."""
        return self.locks.conflicts

    @property
    def put_back(self) -> int:
        """How many lanes were put back into it."""
        return self.locks.put_back

    @property
    def trips(self) -> "tuple[tuple[tuple[float, int], ...], float]":
        """How many trips took up to so many seconds, and how long all took together."""
        from lalepass_service.adapters.valkey.client import BUCKETS

        latency = self.client.latency
        return tuple(zip((*BUCKETS, float("inf")), latency.counts, strict=True)), latency.total


def check_valkey(config: "Config") -> None:
    """Say whether Valkey can be used, as far as one can tell without asking it.

    Raises:
        ConfigFault: a file is not as it has to be, or there are no keys.
    """
    if config.valkey.url:
        _target(config)


@asynccontextmanager
async def open_counters(
    config: "Config", keys: "Vault", *, unlocks: "Unlocks"
) -> AsyncIterator[Counters | None]:
    """Open what replicas share, and look after it; None if no Valkey is configured.

    It need not answer: then each replica counts by itself until it does.

    Raises:
        ConfigFault: a file is not as it has to be, or there are no keys.
    """
    if not config.valkey.url:
        yield None
        return
    from lalepass_service.adapters.clock import SystemClock
    from lalepass_service.adapters.valkey.local import LocalLanes
    from lalepass_service.adapters.valkey.shared import SharedSoftLocks
    from lalepass_service.adapters.valkey.softlocks import ValkeySoftLocks
    from lalepass_service.adapters.valkey.throttle import SharedThrottle
    from lalepass_service.core.digests import Digests

    digests = Digests(keys.derive("valkey"))
    replicas = config.valkey.replicas
    async with _client(config) as client:
        await client.look()
        for warning in await client.warnings():
            _log.warning("Valkey %s", warning)
        local = LocalLanes(shares=replicas)
        lanes = ValkeySoftLocks(client, digests, unlocks=unlocks, memory=local)
        locks = SharedSoftLocks(client=client, valkey=lanes, local=local, clock=SystemClock())
        alone = local_throttle(config, among=lambda: 1 if client.up else replicas)
        throttle = SharedThrottle(alone, client=client, digests=digests)
        async with (
            in_background(client.watch),
            in_background(locks.reconcile),
            in_background(throttle.run),
        ):
            yield Counters(client, locks, throttle)
        await lanes.close()


@asynccontextmanager
async def open_lanes(
    config: "Config", keys: "Vault", *, unlocks: "Unlocks"
) -> AsyncIterator["ValkeySoftLocks | None"]:
    """Open the lanes for an operator, who has to know whether Valkey did as told; None as above.

    Raises:
        ConfigFault: as above.
    """
    if not config.valkey.url:
        yield None
        return
    from lalepass_service.adapters.valkey.softlocks import ValkeySoftLocks
    from lalepass_service.core.digests import Digests

    async with _client(config) as client:
        yield ValkeySoftLocks(client, Digests(keys.derive("valkey")), unlocks=unlocks)


async def count_anew(config: "Config") -> None:
    """Have all wrong passwords counted anew; nothing to do where no Valkey is configured.

    Raises:
        ConfigFault: as above.
        OutsideFault: Valkey did not answer. It can be done again.
    """
    if not config.valkey.url:
        return
    from lalepass_service.adapters.valkey.anew import begin_anew
    from lalepass_service.core.errors import StoreUnavailable

    async with _client(config, patience=_PATIENCE) as client:
        try:
            await begin_anew(client)
        except StoreUnavailable as error:
            raise OutsideFault(str(error)) from error


def local_throttle(config: "Config", *, among: Callable[[], int] = lambda: 1) -> "LocalThrottle":
    """Return what counts the requests of this process."""
    from lalepass_service.core.throttle import LocalThrottle, Rate

    limits = config.throttle
    return LocalThrottle(
        source=Rate(burst=limits.source_burst, per_second=limits.source_per_minute / 60),
        caller=Rate(burst=limits.caller_burst, per_second=limits.caller_per_second),
        among=among,
    )


@asynccontextmanager
async def _client(config: "Config", *, patience: float = 0.0) -> AsyncIterator["Client"]:
    """Lend what talks to it; `patience` is for seconds beyond those that a check may wait."""
    from lalepass_service.adapters.valkey.client import Client

    section = config.valkey
    timeout = max(section.timeout, patience)
    client = Client(_target(config), prefix=section.prefix, timeout=timeout)
    try:
        yield client
    finally:
        await client.close()


def _target(config: "Config") -> "Target":
    from lalepass_service.adapters.valkey.connections import Target

    section = config.valkey
    if config.keys.directory is None:
        # Without one, each process names accounts with a secret of its own.
        raise ConfigFault("valkey.url needs keys.directory: replicas share the key of their names")
    parts = urlsplit(section.url)
    if section.password_path is not None:
        _require_password(section.password_path)
    return Target(
        host=parts.hostname or "",
        port=parts.port or _PORT,
        database=int(parts.path.removeprefix("/") or 0),
        user=unquote(parts.username or ""),
        password_path=section.password_path,
        tls=_trusting(section.ca_path) if parts.scheme in _TLS else None,
    )


def _require_password(path: Path) -> None:
    try:
        with path.open(encoding="utf-8") as file:
            found = file.read(1)
    except OSError as error:
        raise ConfigFault(f"valkey.password_path: {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigFault(f"valkey.password_path: {path}: is not UTF-8 text") from None
    if not found.strip():
        raise ConfigFault(f"valkey.password_path: {path}: does not begin with a password")


def _trusting(authority: Path | None) -> ssl.SSLContext:
    """Return what trusts one authority and no other, or those of the system."""
    if authority is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=authority)
    except ssl.SSLError as error:
        raise ConfigFault(f"valkey.ca_path: {authority}: holds no certificate") from error
    except OSError as error:
        raise ConfigFault(f"valkey.ca_path: {authority}: {error.strerror}") from error
    return context
