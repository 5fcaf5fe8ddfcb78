"""A Valkey of each file of tests, and a replica of the service that uses it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.lalepass_service.adapters.valkey.house import Replica, a_replica
from tests.servers.fixtures import left_out_if_missing
from tests.servers.valkey import Valkey, valkey


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """One that keeps what it has acknowledged, and that these tests may end."""
    with left_out_if_missing(), valkey(keeps=True) as server:
        yield server


@pytest.fixture
def url(server: Valkey) -> str:
    return server.new_url()


@pytest.fixture
async def replica(url: str) -> AsyncIterator[Replica]:
    async with a_replica(url, of=2) as replica:
        yield replica
