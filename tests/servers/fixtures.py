"""Servers that tests share, started when the first of them asks.

Where one is not installed, its tests are left out, which CI forbids (tests/conftest.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.servers.pair import Pair, pair, primary
from tests.servers.postgres import Database, Postgres
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
def _pair() -> Iterator[Pair]:
    with left_out_if_missing(), pair() as servers:
        yield servers


@pytest.fixture
def postgres_pair(_pair: Pair) -> Iterator[Pair]:
    """A primary and a standby that the test may break; they are whole again for the next one."""
    _pair.heal()
    yield _pair
    _pair.heal()


@pytest.fixture
def pair_database(postgres_pair: Pair) -> Iterator[Database]:
    """An empty database that both of them have. `Pair.url` names both."""
    database = postgres_pair.create_database()
    yield database
    postgres_pair.heal()
    postgres_pair.primary.drop_database(database.name)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """A Valkey or Redis that no test ends."""
    with left_out_if_missing(), valkey() as server:
        yield server


@pytest.fixture(scope="session")
def _breakable() -> Iterator[Valkey]:
    with left_out_if_missing(), valkey() as server:
        yield server


@pytest.fixture
def breakable_valkey(_breakable: Valkey) -> Iterator[Valkey]:
    """An empty one that the test may break; it runs again for the next one."""
    _breakable.resume()
    _breakable.restart()
    yield _breakable
    _breakable.resume()


@pytest.fixture
def valkey_url(valkey_server: Valkey) -> str:
    """An empty database of it."""
    return valkey_server.new_url()
