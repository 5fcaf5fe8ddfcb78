"""Servers that tests share, started when the first of them asks.

Where one is not installed, its tests are left out, which CI forbids (tests/conftest.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.servers.postgres import Database, Postgres, primary
from tests.servers.server import Missing
from tests.servers.valkey import Valkey, valkey


@contextmanager
def left_out_if_missing() -> Iterator[None]:
    """Leave out a test that wants what is not installed."""
    try:
        yield
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A primary that no test ends or changes: databases only."""
    with left_out_if_missing(), primary() as server:
        yield server


@pytest.fixture
def postgres_database(postgres_server: Postgres) -> Iterator[Database]:
    """An empty database."""
    database = postgres_server.create_database()
    yield database
    postgres_server.drop_database(database.name)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """A Valkey or Redis that no test ends."""
    with left_out_if_missing(), valkey() as server:
        yield server


@pytest.fixture
def valkey_url(valkey_server: Valkey) -> str:
    """An empty database of it."""
    return valkey_server.new_url()
