"""Figures for Prometheus. Labels come from short fixed lists; none names an account or a caller."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from fastapi import APIRouter
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from lalepass_service.core.check import Accepted, Outcome
from lalepass_service.core.errors import NoAnswer
from lalepass_service.http.counters import Counters, CountersCollector
from lalepass_service.http.histograms import histogram
from lalepass_service.http.primaries import Primaries, PrimariesCollector
from lalepass_service.http.problems import code_of
from lalepass_service.http.replicas import Replicas, ReplicasCollector
from lalepass_service.http.trail import Trail, TrailCollector
from lalepass_wire import ErrorCode, paths

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Load(Protocol):
    """How busy the hasher is."""

    @property
    def slots(self) -> int:
        """Hashes that can run at a time."""
        ...

    @property
    def busy(self) -> int:
        """Hashes that run."""
        ...

    @property
    def held(self) -> int:
        """Of those that wait, how many wait for others like them to end."""
        ...

    @property
    def extra_kib(self) -> int:
        """Memory that foreign records may take now, above what ours would."""
        ...

    @property
    def waiting(self) -> int:
        """Hashes that wait for a slot."""
        ...

    @property
    def shed(self) -> int:
        """Hashes that were turned away, since the start."""
        ...

    @property
    def completed(self) -> int:
        """Hashes that were done, since the start."""
        ...

    @property
    def seconds(self) -> float:
        """What one hash takes, averaged over the last."""
        ...

    @property
    def waits(self) -> tuple[tuple[tuple[float, int], ...], float]:
        """How many waited for a slot up to so many seconds, and how long all together."""
        ...


class Hasher(Protocol):
    """The slow hash, as far as HTTP has to do with it."""

    @property
    def binding(self) -> str:
        """The name of what hashes."""
        ...

    @property
    def lost(self) -> Mapping[str, int]:
        """How many processes for foreign records did not live to answer, and why."""
        ...

    def load(self) -> Load:
        """Return how busy it is."""
        ...

    def admit(self, *, coming: int) -> None:
        """Say whether one more could come in, while so many are coming who may.

        Raises:
            Overloaded: it would be turned away for want of room.
        """
        ...


class Figure(NamedTuple):
    """A number that goes up and down, and is asked for whenever it is shown."""

    name: str
    what: str
    value: Callable[[], float]


class Metrics:
    """What is counted. Each application has its own, so that tests don't count each other."""

    def __init__(self, *, hasher: Hasher, trail: Callable[[], Trail]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_HasherCollector(hasher))
        self.registry.register(TrailCollector(trail))
        Info(
            "lalepass_hasher",
            "What makes and verifies our own records",
            registry=self.registry,
        ).info({"binding": hasher.binding})
        self.requests = Counter(
            "lalepass_http_requests",
            "Requests by route and status",
            ("route", "status"),
            registry=self.registry,
        )
        self._checks = Counter(
            "lalepass_checks",
            "Password checks by outcome; for no_answer the code says why",
            ("outcome", "code"),
            registry=self.registry,
        )
        self._from_cache = Counter(
            "lalepass_checks_from_cache",
            "Passwords that were accepted without a hash: see [check] cache_seconds",
            registry=self.registry,
        )
        self._seconds = Histogram(
            "lalepass_check_duration_seconds",
            "How long password checks took, whatever came of them",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def turned_away(self, error: NoAnswer) -> None:
        """Count a check for which there was no room, before it was read."""
        self._checks.labels(outcome="no_answer", code=code_of(error)).inc()

    def watch_counters(self, counters: Counters) -> None:
        """Show how the counters fare that replicas share."""
        self.registry.register(CountersCollector(counters))

    def watch_replicas(self, replicas: Replicas) -> None:
        """Show how reads from standbys fare."""
        self.registry.register(ReplicasCollector(replicas))

    def show(self, figure: "Figure") -> None:
        """Show a number that somebody else knows."""
        Gauge(figure.name, figure.what, registry=self.registry).set_function(figure.value)

    def watch_primaries(self, primaries: Primaries) -> None:
        """Show which server of the database is written to."""
        self.registry.register(PrimariesCollector(primaries))

    def count_waiting(self, waiting: Callable[[], int]) -> None:
        """Show how many homeservers' processes wait for a change."""
        Gauge(
            "lalepass_feed_waiting",
            "Requests that wait for a change",
            registry=self.registry,
        ).set_function(waiting)

    @contextmanager
    def check(self) -> Iterator["Check"]:
        """Time one check and count how it ends."""
        check = Check()
        began = time.perf_counter()
        try:
            yield check
        except NoAnswer as error:
            check.code = code_of(error)
            raise
        except Exception:
            check.code = ErrorCode.INTERNAL
            raise
        finally:
            self._seconds.observe(time.perf_counter() - began)
            self._checks.labels(outcome=check.outcome, code=check.code or "").inc()
            self._from_cache.inc(check.from_cache)


class Check:
    """One check, as far as it is counted."""

    def __init__(self) -> None:
        self.outcome = "no_answer"
        self.from_cache = False
        # Stays so when the deadline of the request cuts the check off.
        self.code: ErrorCode | None = ErrorCode.UNAVAILABLE

    def ended(self, outcome: Outcome) -> None:
        """Take down an answer."""
        self.outcome = "accepted" if isinstance(outcome, Accepted) else f"refused_{outcome.reason}"
        self.from_cache = isinstance(outcome, Accepted) and outcome.from_cache
        self.code = None


class _HasherCollector(Collector):
    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher

    def collect(self) -> Iterator[Metric]:
        load = self._hasher.load()
        for name, what, value in (
            ("slots", "Hashes that can run at a time", load.slots),
            ("busy", "Hashes that run", load.busy),
            ("waiting", "Hashes that wait for a slot", load.waiting),
            ("held", "Of these, foreign ones that wait for others like them to end", load.held),
            (
                "extra_bytes",
                "Memory that foreign hashes may take now above what ours would",
                1024 * load.extra_kib,
            ),
            ("seconds", "What a hash takes, averaged over about the last twenty", load.seconds),
        ):
            yield GaugeMetricFamily(f"lalepass_hasher_{name}", what, value=value)
        for name, what, value in (
            ("shed", "Hashes that were turned away", load.shed),
            ("completed", "Hashes that were done", load.completed),
        ):
            yield CounterMetricFamily(f"lalepass_hasher_{name}", what, value=value)
        waits, total = load.waits
        yield histogram(
            "lalepass_hasher_wait_seconds", "How long hashes waited for a slot", waits, total=total
        )
        lost = CounterMetricFamily(
            "lalepass_legacy_processes_lost",
            "Processes for foreign records that did not live to answer: killed after their time,"
            " or ended by others",
            labels=["why"],
        )
        for why, count in self._hasher.lost.items():
            lost.add_metric([why], count)
        yield lost


def router(metrics: Metrics) -> APIRouter:
    """Return the route that Prometheus reads."""
    routes = APIRouter()

    @routes.get(paths.METRICS, include_in_schema=False)
    async def show() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return routes
