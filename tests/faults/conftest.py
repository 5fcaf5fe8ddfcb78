"""Servers of tests of faults."""

from collections.abc import Iterator

import pytest

from tests.servers.fixtures import left_out_if_missing
from tests.servers.valkey import Valkey, valkey


@pytest.fixture(scope="session")
def keeping_valkey() -> Iterator[Valkey]:
    """One that keeps what it was told over its end, as it should be set. Tests may break it."""
    with left_out_if_missing(), valkey(keeps=True) as server:
        yield server
