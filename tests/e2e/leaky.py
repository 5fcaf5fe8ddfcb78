"""A module of somebody else's: it leaves a logging context of its own behind on the reactor.

Synapse imports it from the folder in which it is started, as `tests.e2e.leaky.LeakyModule`.
"""

from typing import Any

from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    SENTINEL_CONTEXT,
    LoggingContext,
    set_current_context,
)
from twisted.internet import reactor, task

_SECONDS = 3.0
_BETWEEN = 0.001


class LeakyModule:
    """Goes on for the first seconds, and has a looping call of its own, which ends by it."""

    @staticmethod
    def parse_config(config: object) -> object:
        """There is nothing to say."""
        return config

    def __init__(self, _config: object, api: Any) -> None:
        api.looping_background_call(_nothing, 10, desc="leaky", run_on_all_instances=True)
        self._context = LoggingContext(name="leaked", server_name=api.server_name)
        self._leaking = task.LoopingCall(set_current_context, self._context)
        clock: Any = reactor
        clock.callWhenRunning(self._leaking.start, _BETWEEN)
        clock.callWhenRunning(clock.callLater, _SECONDS, self._stop)

    def _stop(self) -> None:
        self._leaking.stop()
        set_current_context(SENTINEL_CONTEXT)


async def _nothing() -> None:
    pass
