"""What the homeserver's own `/_synapse/metrics` tells about Lalepass.

Synapse exposes everything in prometheus_client's default registry (`metrics/__init__.py`, the
RegistryProxy). That registry refuses a name that it has already, so there is one set of metrics for
a process, however many times the module is listed.

No label holds what a person typed, and none has more values than the configuration has endpoints.
"""

import logging
import math
from collections.abc import Callable
from functools import cache
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

logger = logging.getLogger(__name__)

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
DISABLED: Final = "disabled"
MUST_CHANGE: Final = "must_change"
THROTTLED: Final = "throttled"
NO_ANSWER: Final = "no_answer"


class Metrics:
    """All of them. Whoever adds one gives it a method, so that no label is chosen elsewhere."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._checks = Counter(
            "lalepass_provider_checks",
            "Password checks by what came of them; for no_answer also why.",
            ["outcome", "kind"],
            registry=registry,
        )
        self._seconds = Histogram(
            "lalepass_provider_check_seconds",
            "How long a check took, whatever came of it.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._under_way = Gauge(
            "lalepass_provider_checks_in_flight",
            "Checks that wait for an answer now.",
            registry=registry,
        )
        self._well = Gauge(
            "lalepass_provider_endpoint_up",
            "1 if an endpoint of the service is asked, 0 if it is left alone.",
            ["endpoint"],
            registry=registry,
        )
        self._failures = Counter(
            "lalepass_provider_endpoint_failures",
            "Calls of any kind that an endpoint did not answer, or not as it should.",
            ["endpoint", "kind"],
            registry=registry,
        )
        self._profile_failures = Counter(
            "lalepass_provider_profile_failures",
            "Parts of profiles that could not be written, or an address that another account has.",
            ["part"],
            registry=registry,
        )

        self._feed_age = Gauge(
            "lalepass_provider_feed_age_seconds",
            "How long ago the change feed was last heard of; NaN where it is not followed.",
            registry=registry,
        )
        self._feed_age.set(math.nan)
        self._locked = Gauge(
            "lalepass_provider_locked_accounts",
            "Accounts that are locked here because Lalepass says so.",
            registry=registry,
        )
        self._orders = Counter(
            "lalepass_provider_sign_out_orders",
            "Orders to sign an account out everywhere that were carried out.",
            registry=registry,
        )
        self._reports_dropped = Counter(
            "lalepass_provider_reports_dropped",
            "Logins and logouts that the service was not told of.",
            registry=registry,
        )

    def follows(self, *, age: Callable[[], float], locked: Callable[[], float]) -> None:
        """Say where to look for the age of the feed and the number of locked accounts."""
        self._feed_age.set_function(age)
        self._locked.set_function(locked)

    def order_done(self) -> None:
        """One more is carried out."""
        self._orders.inc()

    def reports_dropped(self, count: int) -> None:
        """So many will not be told."""
        self._reports_dropped.inc(count)

    def check_begins(self) -> None:
        """One check more is under way."""
        self._under_way.inc()

    def check_ends(self, outcome: str, *, seconds: float, kind: str = "") -> None:
        """It is not any longer: `outcome` came of it; `kind` says why there was no answer."""
        self._under_way.dec()
        self._seconds.observe(seconds)
        self._checks.labels(outcome, kind).inc()

    def endpoint_is(self, endpoint: str, *, well: bool) -> None:
        """Tell the health of an endpoint: host and port."""
        self._well.labels(endpoint).set(1 if well else 0)

    def endpoint_failed(self, endpoint: str, kind: str) -> None:
        """Count a failure; `kind` is the class of the NoAnswer."""
        self._failures.labels(endpoint, kind).inc()

    def profile_failed(self, part: str) -> None:
        """Count a part of somebody's profile that is not as Lalepass says."""
        self._profile_failures.labels(part).inc()


@cache
def shared() -> Metrics:
    """Return the metrics of this process."""
    try:
        return Metrics(REGISTRY)
    except ValueError:
        # A second copy of this package in the process. The first has the names.
        logger.warning("Another copy of Lalepass's module has its metrics here; these aren't shown")
        return Metrics(CollectorRegistry())
