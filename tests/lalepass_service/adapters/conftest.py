from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lalepass_service.core.ports import Callers, Users
from tests.lalepass_service.adapters.stores import Stores, in_memory, in_sqlite


@pytest.fixture(params=["memory", "sqlite", "sqlite, hot path"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    if request.param == "memory":
        yield in_memory()
        return
    hot = request.param != "sqlite"
    async with in_sqlite(tmp_path / "lalepass.db", hot=hot) as stores:
        yield stores


@pytest.fixture
def users(stores: Stores) -> Users:
    return stores.users


@pytest.fixture
def callers(stores: Stores) -> Callers:
    return stores.callers
