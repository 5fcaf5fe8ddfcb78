"""Read replicas, where there are any."""

# ruff: noqa: PLC0415 - see the package

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lalepass_service.parts.background import in_background
from lalepass_service.parts.database import server_at

if TYPE_CHECKING:
    from lalepass_service.adapters.sql.hot import Hot
    from lalepass_service.adapters.sql.lag import Lag
    from lalepass_service.adapters.sql.migrate import Store
    from lalepass_service.adapters.sql.postgres import PostgresServer
    from lalepass_service.adapters.sql.replica import ReplicaReads
    from lalepass_service.config import Config


def check_replicas(config: "Config") -> "PostgresServer | None":
    """Return where the read replicas are, if there are any. Whether they answer does not matter.

    Raises:
        ConfigFault: their address is none.
    """
    url = config.database.replica_url
    if not url:
        return None
    server = server_at(url, config, option="database.replica_url", standby=True)
    return replace(server, connections=server.connections // 2)


@asynccontextmanager
async def open_lag(config: "Config", *, of: "Store") -> AsyncIterator["Lag | None"]:
    """Look now and then how far the read replicas are behind, if there are any.

    `of` is what `open_store` has found.

    Raises:
        ConfigFault: their address is none.
    """
    standbys = check_replicas(config)
    if standbys is None or isinstance(of, Path):
        yield None
        return
    from lalepass_service.adapters.sql.lag import Lag

    lag = Lag(of=of, standbys=standbys)
    async with in_background(lag.follow):
        yield lag


@asynccontextmanager
async def open_replicas(
    config: "Config", primary: "Hot", *, of: "Store"
) -> AsyncIterator["ReplicaReads | None"]:
    """Open the way to the read replicas, if there are any, which leads on to the primary.

    `of` is what `open_store` has found.

    Raises:
        ConfigFault: their address is none.
    """
    standbys = check_replicas(config)
    if standbys is None or isinstance(of, Path):
        yield None
        return
    from lalepass_service.adapters.sql.replica import ReplicaReads

    reads = ReplicaReads(primary, of=of, standbys=standbys)
    try:
        yield reads
    finally:
        await reads.close()
