"""The slow hash, and what others have made with theirs."""

# ruff: noqa: PLC0415 - see the package

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lalepass_service.faults import ConfigFault

if TYPE_CHECKING:
    from lalepass_service.adapters.hashing import PasswordHasher
    from lalepass_service.adapters.hashing.bindings import Binding
    from lalepass_service.config import Config
    from lalepass_service.core.model import NormalForm, PasswordRecord

_LEGACY_SECONDS: Final = 8.0
"""For one foreign record. The most expensive one that the bounds allow, argon2i with 256 MiB and 16
iterations, takes 4.7 s of processor time (measured on a server's Xeon); a million rounds of
sha512-crypt with the longest password take 1.8 s."""

_MAX_PEPPER: Final = 1024


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


def choose_binding(config: "Config") -> "Binding":
    """Return what hashes on this machine. Starts a process that tries it, and waits for that.

    Raises:
        ConfigFault: the one that the settings name can't be used.
    """
    from lalepass_service.adapters.hashing import NoSuchBinding, choose

    try:
        return choose(config.hashing.binding, memory_kib=config.hashing.memory_kib)
    except NoSuchBinding as error:
        raise ConfigFault(f"hashing.binding: {error}") from None


def foreign_record(text: str, *, form: "NormalForm", synapse: bool) -> "PasswordRecord":
    """Return a record that another program made, once it is known and bounded.

    Raises:
        UnreadableRecord: it is of no known format, or costs more than a check may cost.
    """
    from lalepass_service.adapters.hashing.formats import foreign

    return foreign(text, form=form, synapse=synapse)


@asynccontextmanager
async def open_hasher(
    config: "Config",
    *,
    threads: int,
    decoy_key: bytes = b"",
    binding: "Binding | None" = None,
) -> AsyncIterator["PasswordHasher"]:
    """Start the hashing threads. Without a `binding`, the settings choose one.

    Raises:
        ConfigFault: the parameters are not acceptable, the binding can't be used here, or the
            pepper can't be read.
    """
    from lalepass_service.adapters.hashing import (
        Argon2Hasher,
        Argon2Parameters,
        LegacyProcesses,
        PasswordHasher,
    )
    from lalepass_service.adapters.hashing.available import (
        available_memory_kib,
        foreign_memory_kib,
    )

    check_hashing(config)
    if binding is None:
        # It waits for another process, and nothing else goes on yet.
        binding = await asyncio.to_thread(choose_binding, config)
    own = Argon2Hasher(
        parameters=Argon2Parameters(
            memory_kib=config.hashing.memory_kib, iterations=config.hashing.iterations
        ),
        threads=threads,
        max_waiting=config.hashing.max_waiting,
        deadline=config.hashing.deadline_seconds,
        binding=binding,
        extra_kib=foreign_memory_kib(available_memory_kib()),
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
        # It waits for what runs, and the loop has other things to end meanwhile.
        await asyncio.to_thread(hasher.close)
