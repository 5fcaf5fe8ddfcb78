"""How the trail fares, for Prometheus."""

from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


class Trail(Protocol):
    """What is written of what happens, and what is not."""

    @property
    def waiting(self) -> int:
        """Entries that are not in the database yet."""
        ...

    @property
    def lost(self) -> int:
        """Entries that never got there, since the start."""
        ...

    @property
    def copy_failures(self) -> int:
        """How often the copy could not be written, since the start."""
        ...

    @property
    def copy_lost(self) -> int:
        """Entries that are in no copy, since the start."""
        ...


class TrailCollector(Collector):
    """Asks the trail whenever it is asked itself."""

    def __init__(self, trail: Callable[[], Trail]) -> None:
        self._trail = trail

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the figures."""
        trail = self._trail()
        yield GaugeMetricFamily(
            "lalepass_audit_waiting",
            "Entries of the trail that are not written yet",
            value=trail.waiting,
        )
        for name, what, value in (
            ("lost", "Entries of the trail that could not be written", trail.lost),
            ("copy_failures", "Times that the copy of the trail failed", trail.copy_failures),
            ("copy_lost", "Entries that are missing in the copy of the trail", trail.copy_lost),
        ):
            yield CounterMetricFamily(f"lalepass_audit_{name}", what, value=value)
