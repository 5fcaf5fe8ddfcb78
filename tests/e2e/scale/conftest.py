"""One site for all tests here, which leave it as they found it.

But for which of the two PostgreSQLs is the primary.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.scale.site import Chat, chat
from tests.e2e.test_workers import has
from tests.servers.fixtures import left_out_if_missing

PASSWORD = "scaling-up-17"
OTHER = "scaling-out-18"
PEOPLE = ("ada", "bruno", "clara", "dora", "emil", "fritz", "gerda")


@pytest.fixture(scope="package")
def site() -> Iterator[Chat]:
    if not all(has(module) for module in ("psycopg2", "txredisapi", "s3_storage_provider")):
        pytest.skip("this Synapse is installed without what it needs for workers and S3")
    with left_out_if_missing(), chat(dict.fromkeys(PEOPLE, PASSWORD)) as made:
        yield made
