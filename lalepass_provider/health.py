"""What is known of the health of the service's endpoints.

One that fails is left alone for a while, which grows each time, and is asked by a probe and not by
a login whether it is well again. While none is well, probes come within a second.

Only checks, and whether there is a connection at all, decide about that. A long poll that an
endpoint does not answer says little of the next check, and one that it answers no more. So calls in
the background have a memory of their own, of which endpoints to leave alone for a while.
"""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from twisted.internet import defer
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from lalepass_provider.errors import (
    Lost,
    NoAnswer,
    NotConnected,
    Overloaded,
    TooSlow,
    Unreachable,
)
from lalepass_provider.metrics import Metrics
from lalepass_provider.transport import Answer, Request, Transport
from lalepass_wire import paths

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_PAUSE_IF_NONE_IS_WELL: Final = 0.75
"""Seconds between two probes of an endpoint, before jitter."""
_MAX_DOUBLINGS: Final = 10
_MAX_REST: Final = 5.0
"""Seconds that an overloaded endpoint is spared at most, whatever it asks for."""
_MAX_PROBE_ANSWER: Final = 16 * 1024
_OK: Final = 200
_CLIENT_ERROR: Final = range(400, 500)

_PROBE: Final = Request(
    method="GET",
    target=paths.HEALTH_READY,
    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    max_answer_bytes=_MAX_PROBE_ANSWER,
)
"""Carries no token: what answers may be anything by now."""


class State(Enum):
    """Whether an endpoint is given calls."""

    WELL = auto()
    # A probe was answered. One call at a time is given to it, until one succeeds.
    ON_TRIAL = auto()
    # Left alone, and probed.
    DOWN = auto()


@dataclass(eq=False)
class Load:
    """The calls of one kind that an endpoint gets."""

    under_way: int = 0
    last_used: int = 0
    rests_until: float = 0.0
    """It was overloaded; or it failed, and that counts for this kind alone."""
    failures: int = 0
    """In a row, of those that count for this kind alone."""


@dataclass(eq=False)
class Endpoint:
    """One endpoint, and what is known of it."""

    transport: Transport
    state: State = State.WELL
    failures: int = 0
    """In a row, those at the same moment counted once."""
    took: float = 0.0
    """Seconds until the last failure was known."""
    checks: Load = field(default_factory=Load)
    background: Load = field(default_factory=Load)
    fault_told: bool = False
    """That a probe failed by a fault of ours stands in the log."""
    timer: IDelayedCall | None = None
    probe: "defer.Deferred[None] | None" = None

    @property
    def name(self) -> str:
        """Return host and port."""
        return self.transport.name

    def load(self, *, background: bool) -> Load:
        """Return what it has to do of one kind."""
        return self.background if background else self.checks

    def takes_calls(self, now: float, *, background: bool) -> bool:
        """Say whether a call of this kind is given to it while there are others.

        The one call on trial is a check: a long poll would keep all logins from it for as long as
        it waits, and prove nothing.
        """
        if self.state is State.ON_TRIAL:
            return not background and not self.checks.under_way
        return self.state is State.WELL and self.load(background=background).rests_until <= now


class Health:
    """Keeps it for all endpoints of one service."""

    def __init__(
        self,
        transports: Sequence[Transport],
        *,
        clock: IReactorTime,
        probe_seconds: float,
        metrics: Metrics,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Take the endpoints for well.

        Args:
            transports: one for each endpoint.
            clock: Twisted's reactor.
            probe_seconds: how long a probe may take.
            metrics: are told who is well.
            jitter: a number from 0 to 1.
        """
        self.endpoints: Final = tuple(Endpoint(transport) for transport in transports)
        self._clock = clock
        self._probe_seconds = probe_seconds
        self._metrics = metrics
        self._jitter = jitter
        self._closed = False
        for endpoint in self.endpoints:
            metrics.endpoint_is(endpoint.name, well=True)

    def stop(self) -> None:
        """Probe no more."""
        self._closed = True
        for endpoint in self.endpoints:
            _stop_probing(endpoint)

    @property
    def _none_is_well(self) -> bool:
        return all(endpoint.state is State.DOWN for endpoint in self.endpoints)

    def note(
        self, endpoint: Endpoint, exc: NoAnswer, *, begun: float, background: bool = False
    ) -> None:
        """A call that began then has come to this."""
        now = self._clock.seconds()
        if exc.blames_endpoint and (not background or isinstance(exc, NotConnected)):
            self._failed(endpoint, exc, took=now - begun)
            return
        load = endpoint.load(background=background)
        if isinstance(exc, Overloaded):
            load.rests_until = now + min(exc.retry_after or 1.0, _MAX_REST)
        elif exc.blames_endpoint:
            self._metrics.endpoint_failed(endpoint.name, type(exc).__name__)
            if load.rests_until <= now:  # else it is known
                load.failures += 1
                load.rests_until = now + self._pause(load.failures, longest=_LONGEST_PAUSE)
            return
        self.answered(endpoint, background=background)

    def answered(self, endpoint: Endpoint, *, background: bool = False) -> None:
        """It has answered as it should."""
        if background:
            endpoint.background.failures = 0
            return
        if endpoint.failures:
            logger.info("The Lalepass service at %s answers again", endpoint.name)
        if endpoint.failures or endpoint.state is not State.WELL:
            endpoint.failures = 0
            endpoint.fault_told = False
            self._becomes(endpoint, State.WELL)
            _stop_probing(endpoint)

    def _failed(self, endpoint: Endpoint, exc: NoAnswer, *, took: float) -> None:
        self._metrics.endpoint_failed(endpoint.name, type(exc).__name__)
        endpoint.took = took
        if endpoint.state is State.DOWN:
            return  # known, and the next probe is on its way
        if not endpoint.failures:
            logger.warning("The Lalepass service does not answer, and is left alone: %s", exc)
        endpoint.failures += 1
        self._becomes(endpoint, State.DOWN)
        if isinstance(exc, Lost | TooSlow):
            # What is kept may be as dead as this one was, as behind a firewall that has forgotten
            # them all. Only a new connection tells the next login, and the probe, how it is now.
            endpoint.transport.drop_idle()
        self._probe_later(endpoint)
        if self._none_is_well:
            for one in self.endpoints:
                if one.timer is not None:  # its pause was one for better times
                    self._probe_later(one)

    def _becomes(self, endpoint: Endpoint, state: State) -> None:
        endpoint.state = state
        self._metrics.endpoint_is(endpoint.name, well=state is not State.DOWN)

    def _probe_later(self, endpoint: Endpoint) -> None:
        if self._closed:
            return
        _stop_probing(endpoint)
        longest = _PAUSE_IF_NONE_IS_WELL if self._none_is_well else _LONGEST_PAUSE
        pause = self._pause(endpoint.failures, longest=longest)
        endpoint.timer = self._clock.callLater(pause, self._begin_probe, endpoint)

    def _pause(self, failures: int, *, longest: float) -> float:
        pause: float = _FIRST_PAUSE * 2 ** min(failures - 1, _MAX_DOUBLINGS)
        # Many homeserver processes see the same outage, and should not all come at once.
        return min(pause, longest) * (0.75 + self._jitter() / 4)

    def _begin_probe(self, endpoint: Endpoint) -> None:
        endpoint.timer = None
        endpoint.probe = defer.Deferred.fromCoroutine(self._probe(endpoint))

    async def _probe(self, endpoint: Endpoint) -> None:
        try:
            answer = await endpoint.transport.send(_PROBE, seconds=self._probe_seconds)
            well = _looks_well(answer)
        except (Unreachable, defer.CancelledError):
            well = False
        except Exception:
            # A fault of ours. It must not end the probing: nothing else finds out who is well.
            well = False
            if not endpoint.fault_told:
                logger.exception("A fault in asking whether %s is well again", endpoint.name)
            endpoint.fault_told = True
        endpoint.probe = None
        if self._closed or endpoint.state is not State.DOWN:
            return  # a call was quicker
        if well:
            self._becomes(endpoint, State.ON_TRIAL)
        else:
            endpoint.failures += 1
            self._probe_later(endpoint)


def _stop_probing(endpoint: Endpoint) -> None:
    timer, endpoint.timer = endpoint.timer, None
    if timer is not None and timer.active():
        timer.cancel()
    probe, endpoint.probe = endpoint.probe, None
    if probe is not None and not probe.called:
        probe.cancel()


def _looks_well(answer: Answer) -> bool:
    """Say whether a login may try. A proxy that hides this path from us decides nothing."""
    if answer.status in _CLIENT_ERROR:
        return True
    return answer.status == _OK and answer.header("Content-Type").startswith("application/json")
