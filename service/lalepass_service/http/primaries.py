"""Which server of the database is written to, for Prometheus."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Primaries(Protocol):
    """What is known of the servers of the database, as of the last look at them."""

    @property
    def writing(self) -> int:
        """How many take writes."""
        ...

    @property
    def timeline(self) -> int:
        """The one that is believed; 0 if none was seen."""
        ...

    @property
    def up(self) -> bool:
        """Whether the one that is believed has answered the last look."""
        ...

    @property
    def age(self) -> float:
        """Seconds since the last look; NaN if there was none."""
        ...

    @property
    def split(self) -> bool:
        """Whether it can't be told which of them is the right one."""
        ...

    @property
    def left(self) -> int:
        """Transactions that wait for a standby, and nobody for them any more."""
        ...

    @property
    def dropped(self) -> int:
        """How many connections to an old primary were given up, since the start."""
        ...

    @property
    def refused(self) -> int:
        """How many writes were refused at once, since the start."""
        ...


class PrimariesCollector(Collector):
    """Asks whenever it is asked itself."""

    def __init__(self, primaries: Primaries) -> None:
        self._primaries = primaries

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        primaries = self._primaries
        for name, what, value in (
            ("primaries", "Servers of the database that take writes", primaries.writing),
            ("timeline", "The timeline of the one that is believed", primaries.timeline),
            ("primary_up", "Whether the one that is believed answers", primaries.up),
            ("look_age_seconds", "Seconds since they were looked at", primaries.age),
            ("split", "Whether it can't be told which of them that is", primaries.split),
            (
                "transactions_left",
                "Transactions that wait for a standby, and nobody for them any more",
                primaries.left,
            ),
        ):
            yield GaugeMetricFamily(f"lalepass_database_{name}", what, value=value)
        yield CounterMetricFamily(
            "lalepass_database_connections_dropped",
            "Connections that were given up since they led to an old primary",
            value=primaries.dropped,
        )
        yield CounterMetricFamily(
            "lalepass_database_writes_refused",
            "Writes that were refused at once: nobody knows where to, or too many wait",
            value=primaries.refused,
        )
