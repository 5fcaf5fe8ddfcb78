"""The modules that a test has loaded: `conftest.py` stops them after it."""

from typing import Any, Final, cast

from lalepass_provider import LalepassProvider
from tests.lalepass_provider.fakes import FakeHomeserver

MODULES: Final[list[LalepassProvider]] = []


def load(homeserver: FakeHomeserver, **options: Any) -> LalepassProvider:
    """Load the module as Synapse does; without its lifecycle, unless the test wants it."""
    config = LalepassProvider.parse_config({"lifecycle": {"enabled": False}, **options})
    module = LalepassProvider(config, cast("Any", homeserver))
    MODULES.append(module)
    return module
