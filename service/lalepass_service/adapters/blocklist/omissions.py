"""Makes it seen that a password was taken without the answer of the range host."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from lalepass_service.core.errors import BreachRangeUnavailable

_log: Final = structlog.stdlib.get_logger(__name__)

_SECONDS: Final = 60.0
"""One line says that the host is away; one a password would only bury the rest of the log."""


class Omissions:
    """Counts, and logs once a minute. Pass it to the policy as `unanswered`."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._logged_at: float | None = None
        self.total = 0
        """Passwords that were taken without an answer, since the start."""

    def __call__(self, error: BreachRangeUnavailable) -> None:
        """Take down one."""
        self.total += 1
        now = self._monotonic()
        if self._logged_at is None or now - self._logged_at >= _SECONDS:
            self._logged_at = now
            _log.warning("a new password was not looked up", why=str(error), so_far=self.total)
