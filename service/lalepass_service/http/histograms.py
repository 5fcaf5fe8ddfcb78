"""Histograms that somebody else has counted."""

from collections.abc import Sequence
from itertools import accumulate
from math import isinf

from prometheus_client.core import HistogramMetricFamily


def histogram(
    name: str, what: str, counts: Sequence[tuple[float, int]], *, total: float
) -> HistogramMetricFamily:
    """Show how many took up to so many seconds.

    Args:
        name: of the metric.
        what: is measured.
        counts: upper bounds, the last one infinite, with how many fell below each and above the
            one before.
        total: how long all together.
    """
    summed = accumulate(count for _, count in counts)
    names = ("+Inf" if isinf(bound) else str(bound) for bound, _ in counts)
    return HistogramMetricFamily(
        name, what, buckets=list(zip(names, summed, strict=True)), sum_value=total
    )
