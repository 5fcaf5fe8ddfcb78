from collections.abc import Iterator

import pytest

from tests.lalepass_service.adapters.hashing.gates import Gate


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    # whatever failed, no thread may be left behind that waits
    gate.open()
