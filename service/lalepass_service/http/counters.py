"""How the counters fare that replicas share, for Prometheus."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from lalepass_service.http.histograms import histogram


class Counters(Protocol):
    """Counters in Valkey. All figures but the first are since the start."""

    @property
    def up(self) -> bool:
        """Whether it answers."""
        ...

    @property
    def losses(self) -> int:
        """How often it has stopped answering."""
        ...

    @property
    def emptied(self) -> int:
        """How often it had lost its data."""
        ...

    @property
    def fallbacks(self) -> int:
        """How many guesses were decided without it."""
        ...

    @property
    def conflicts(self) -> int:
        """How often another replica was quicker."""
        ...

    @property
    def put_back(self) -> int:
        """How many lanes were put back into it."""
        ...

    @property
    def trips(self) -> tuple[Sequence[tuple[float, int]], float]:
        """How many trips took up to so many seconds and longer than the bound before, and the sum.

        The last bound is infinite.
        """
        ...


class CountersCollector(Collector):
    """Asks the counters whenever it is asked itself."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        counters = self._counters
        yield GaugeMetricFamily(
            "lalepass_valkey_up", "Whether Valkey answers", value=float(counters.up)
        )
        for name, what, value in (
            ("losses", "Times that Valkey has stopped answering", counters.losses),
            ("emptied", "Times that Valkey had lost its data", counters.emptied),
            ("fallbacks", "Guesses that this replica decided alone", counters.fallbacks),
            ("conflicts", "Times that another replica was quicker", counters.conflicts),
            ("put_back", "Lanes that were put back into Valkey", counters.put_back),
        ):
            yield CounterMetricFamily(f"lalepass_valkey_{name}", what, value=value)
        trips, total = counters.trips
        yield histogram(
            "lalepass_valkey_trip_seconds",
            "How long trips to Valkey took, whatever came of them",
            trips,
            total=total,
        )
