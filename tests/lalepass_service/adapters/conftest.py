from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.core.ports import Callers, Users
from tests.lalepass_service.adapters.databases import fresh, server_of
from tests.lalepass_service.adapters.followed import Followed, following
from tests.lalepass_service.adapters.stores import Stores, in_database, in_memory
from tests.servers.postgres import Postgres


@pytest.fixture(scope="session")
def template(postgres_server: Postgres) -> str:
    """A database with tables and nothing in them: to copy it is quicker than to make them."""
    made = postgres_server.create_database()
    upgrade(server_of(made))
    return made.name


@pytest.fixture(
    params=["memory", "sqlite", "sqlite, hot path", "postgresql", "postgresql, hot path"]
)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    if request.param == "memory":
        yield in_memory()
        return
    kind, _, hot = request.param.partition(", ")
    async with in_database(fresh(kind, request, tmp_path), hot=bool(hot)) as stores:
        yield stores


@pytest.fixture
def users(stores: Stores) -> Users:
    return stores.users


@pytest.fixture
def callers(stores: Stores) -> Callers:
    return stores.callers


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def followed(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Followed]:
    async with following(request.param, request, tmp_path) as followed:
        yield followed
