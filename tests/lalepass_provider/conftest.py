"""What the tests of the module share."""

from collections.abc import Iterator

import pytest
import pytest_twisted  # type: ignore[import-untyped]  # it has no annotations
from twisted.internet import defer

from tests.lalepass_provider import loaded


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Stop the probes of endpoints that did not answer: the next test may have their port."""
    yield
    while loaded.MODULES:
        pytest_twisted.blockon(defer.ensureDeferred(loaded.MODULES.pop().aclose()))
