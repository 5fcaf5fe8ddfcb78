"""From a file to a server, and back."""

# ruff: noqa: PLC0415 - see the package

from pathlib import Path
from typing import TYPE_CHECKING, Final

from lalepass_service.faults import ConfigFault, OutsideFault
from lalepass_service.parts.database import database_faults, require_primary, store_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from lalepass_service.adapters.sql.migrate import Store
    from lalepass_service.adapters.sql.move import Progress

_FILE: Final = "sqlite:"


def move(source: "Store", target: "Store", *, say: "Callable[[Progress], None]") -> int:
    """Copy a whole installation to where nothing is yet, and return how many rows it has.

    Raises:
        OutsideFault: one of the two is not as it has to be, is in use, or does not answer.
    """
    from lalepass_service.adapters.sql import move as moving

    if isinstance(source, Path) == isinstance(target, Path):
        raise OutsideFault(
            "that is from a file to a server or back: for two files there is `lalepass db backup`, "
            "for two servers pg_dump"
        )
    server = target if isinstance(source, Path) else source
    with database_faults(server):
        require_primary(server)
        return moving.move(source, target, say=say)


def store_at(address: str, *, password_path: str) -> "Store":
    """Return a database that is not the one of the settings: sqlite:PATH, or postgresql://...

    Raises:
        ConfigFault: that is no address, or there is no password where it should be.
    """
    from pydantic import ValidationError

    from lalepass_service.config import Config, Database

    if address.startswith(_FILE):
        return Path(address.removeprefix(_FILE).removeprefix("//"))
    try:
        settings = Database(url=address, password_path=password_path)
    except ValidationError:
        raise ConfigFault(
            "an address is sqlite:PATH, or that of PostgreSQL, without a password, and with "
            "sslmode unless it is on this machine"
        ) from None
    if not settings.url:
        raise ConfigFault("an address is sqlite:PATH, or that of PostgreSQL")
    return store_of(Config(database=settings))
