"""Databases to run one contract suite on: a file, and a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.adapters.sql.migrate import Store, upgrade
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.core.model import Password
from tests.servers.postgres import Database as OnServer
from tests.servers.postgres import Postgres


@dataclass(frozen=True)
class Opened:
    """A database, and the ways to it."""

    database: Database
    hot: Hot
    lane: Hot
    """What followers read with."""


def server_of(on_server: OnServer) -> PostgresServer:
    """Return how the service is told of a database of the tests."""
    return PostgresServer(url=on_server.url, password=Password(on_server.server.password))


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Opened]:
    """Open a database that has its tables."""
    if isinstance(store, Path):
        database = Database.open(store)
        hot, lane = HotPath.open(store), HotPath.open(store)
        yield Opened(database, hot, lane)
        for path in (hot, lane):
            await path.close()
    else:
        database = open_server(store)
        paths, narrow = PostgresPaths.open(store), PostgresPaths.open(store, threads=1)
        yield Opened(database, paths, narrow)
        for each in (paths, narrow):
            await each.close()
    await database.close()


def fresh(kind: str, request: pytest.FixtureRequest, folder: Path) -> Store:
    """Return a database with tables and nothing in them."""
    if kind == "sqlite":
        path = folder / "lalepass.db"
        upgrade(path)
        return path
    server: Postgres = request.getfixturevalue("postgres_server")
    made = server.create_database(template=request.getfixturevalue("template"))
    request.addfinalizer(lambda: server.drop_database(made.name))
    return server_of(made)
