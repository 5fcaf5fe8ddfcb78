"""The keys that stored records are wrapped with."""

# ruff: noqa: PLC0415 - see the package

import logging
from typing import TYPE_CHECKING, Final

from lalepass_service.faults import ConfigFault, OutsideFault

if TYPE_CHECKING:
    from lalepass_service.adapters.keys import KeyDirectory, KeyVault, Vault
    from lalepass_service.adapters.sql.engine import Database
    from lalepass_service.config import Config

_log: Final = logging.getLogger(__name__)


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
    """Refuse to work on records that can't be read, and say if none can be stored.

    Raises:
        ConfigFault: records are wrapped, and no folder for keys is set.
        OutsideFault: a key that a record needs is missing, or the keys are not as they have to be.
    """
    from lalepass_service.adapters.sql.retired import retired_here, retired_keys
    from lalepass_service.adapters.sql.rewrap import needed_keys, records_of

    needed = set(await needed_keys(database))
    if config.keys.directory is None:
        if needed:
            raise ConfigFault(
                f"stored passwords need the key {min(needed)}, and keys.directory is not set"
            )
        return
    ring = key_vault(config).ring
    if ring.active in await retired_keys(database):
        # No reason not to start: nobody who logs in needs anything to be stored.
        _log.error("%s", retired_here(ring.active))
    missing = sorted(needed - ring.ids)
    if missing:
        count = await records_of(database, missing[0])
        raise OutsideFault(
            f"the key {missing[0]} is missing in {config.keys.directory}: put its file back; "
            f"stored passwords that can't be read without it: {count}"
        )
