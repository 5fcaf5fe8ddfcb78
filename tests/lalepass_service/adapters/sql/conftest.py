from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lalepass_service.adapters.keys import KeyDirectory, KeyVault
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.migrate import upgrade
from tests.lalepass_service.adapters.sql.site import Site


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A fresh database, brought up to date."""
    path = tmp_path / "lalepass.db"
    upgrade(path)
    return path


@pytest.fixture
async def site(path: Path) -> AsyncIterator[Site]:
    directory = KeyDirectory(path.parent / "keys")
    directory.add()
    database = Database.open(path)
    yield Site(database=database, directory=directory, vault=KeyVault(directory))
    await database.close()


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = Database.open(path)
    yield database
    await database.close()
