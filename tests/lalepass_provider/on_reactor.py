"""Twisted's reactor and pytest-twisted's decorator, with types."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

import pytest_twisted  # type: ignore[import-untyped]  # it has no annotations
from twisted.internet import reactor as _reactor

Test = TypeVar("Test", bound=Callable[..., Coroutine[Any, Any, None]])

reactor: Any = _reactor


def on_reactor(test: Test) -> Test:
    """Run an async test on Twisted's reactor."""
    return cast("Test", pytest_twisted.ensureDeferred(test))
