"""Waiting for a fact, with a fence."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FENCE = 60.0
"""Seconds. What is waited for takes one; a busy machine is slower. Figures are in bench/."""

_PAUSE = 0.05


def until(fact: Callable[[], T], *, what: str, seconds: float = FENCE) -> T:
    """Return the fact as soon as it is true, or fail."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(_PAUSE)  # noqa: TID251 - with a deadline
    return found
