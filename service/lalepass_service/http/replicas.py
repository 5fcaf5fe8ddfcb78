"""How reads from standbys of the database fare, for Prometheus."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Replicas(Protocol):
    """Reads that a standby may answer. All figures but the first are since the start."""

    @property
    def up(self) -> int:
        """How many connections to standbys are in use."""
        ...

    @property
    def used(self) -> int:
        """How many reads a standby has answered."""
        ...

    @property
    def passed(self) -> Mapping[str, int]:
        """How many reads the primary has answered in its place, by why."""
        ...

    @property
    def fences(self) -> int:
        """How often the primary was asked where it is."""
        ...


class ReplicasCollector(Collector):
    """Asks them whenever it is asked itself."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        replicas = self._replicas
        yield GaugeMetricFamily(
            "lalepass_replica_connections",
            "Connections to read replicas that are in use",
            value=replicas.up,
        )
        yield CounterMetricFamily(
            "lalepass_replica_reads", "Reads that a replica answered", value=replicas.used
        )
        passed = CounterMetricFamily(
            "lalepass_replica_passed",
            "Reads that the primary answered in place of a replica, and why",
            labels=("why",),
        )
        for why, count in replicas.passed.items():
            passed.add_metric((why,), count)
        yield passed
        yield CounterMetricFamily(
            "lalepass_replica_fences",
            "Times that the primary was asked where it is",
            value=replicas.fences,
        )
