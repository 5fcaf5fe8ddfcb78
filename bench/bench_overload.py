"""What happens above the capacity: who is served, who is sent away, and how fast.

First the peak with as many clients as can be served; then five and twenty times as many requests a
second as that, from clients that do not wait for each other. The health of the service is asked all
the while.

The clients share the cores with the service here, and on the way to real ones there is a network.
So goodput is told twice: by the clock, and for each core that the clients left to the service.
"""

import asyncio
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figure, asked_to_be_quick, at_least, at_most, report
from bench.load import (
    CORES,
    OK,
    OPTIONS,
    Answer,
    Client,
    Cost,
    Running,
    closed_loop,
    percentile,
    serving,
)

_SHED: Final = 503
_LIVE: Final = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
_DEADLINE: Final = 3.0
"""The service's default, `hashing.deadline_seconds`."""


@dataclass
class Flood:
    """What came back for what was asked within a stretch of time."""

    answers: list[Answer] = field(default_factory=list)
    ended: int = 0
    """Checks that were decided within it, whenever they had been asked for."""
    health: list[float] = field(default_factory=list)
    cost: Cost = field(default_factory=lambda: Cost(1, 0, 0))

    def seconds(self, status: int) -> list[float]:
        """Return how long the answers of a status took."""
        return [answer.seconds for answer in self.answers if answer.status == status]

    @property
    def per_second(self) -> float:
        """Checks a second by the clock."""
        return self.ended / self.cost.wall

    @property
    def per_core(self) -> float:
        """Checks a second for each core that the clients left."""
        return self.per_second / self.cost.left_cores


async def peak(running: Running, seconds: float) -> Flood:
    """Ask with a few clients that wait for their answers."""
    flood = Flood()
    with running.cost() as costs:
        flood.answers = list(await closed_loop(running, clients=16, seconds=seconds))
    flood.ended = len(flood.seconds(OK))
    flood.cost = costs[0]
    return flood


class Rush:
    """So many requests a second, whatever comes back."""

    def __init__(self, running: Running, per_second: float) -> None:
        self._running = running
        self._per_second = per_second
        self._requests = [running.request(f"u{number}") for number in range(1000)]
        self._idle: list[Client] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._measured: Flood | None = None

    async def run(self, *, first: float, seconds: float) -> Flood:
        """Send for so many seconds, of which the first ones are not measured.

        It is the state that lasts which is looked at: at the first moment the clients connect, all
        at once, and the queue is empty.
        """
        flood = Flood()
        watching = asyncio.create_task(self._watch(flood))
        await self._send(first)
        flood.health.clear()
        self._measured = flood
        with self._running.cost() as costs:
            await self._send(seconds)
        flood.cost = costs[0]
        self._measured = None
        await asyncio.gather(*self._tasks)
        watching.cancel()
        for client in self._idle:
            client.close()
        return flood

    async def _send(self, seconds: float) -> None:
        began = time.perf_counter()
        for number in range(int(self._per_second * seconds)):
            if (early := began + number / self._per_second - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(self._one(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, number: int) -> None:
        client = self._idle.pop() if self._idle else Client(self._running.service.port)
        asked = self._measured
        answer = await client.ask(self._requests[number % 1000])
        self._idle.append(client)
        if asked is not None:
            asked.answers.append(answer)
        if self._measured is not None:
            self._measured.ended += answer.status == OK

    async def _watch(self, flood: Flood) -> None:
        client = Client(self._running.service.port)
        while True:
            flood.health.append((await client.ask(_LIVE)).seconds)
            await asyncio.sleep(0.02)


def told(times: int, flood: Flood, best: Flood) -> list[Figure]:
    """Return the figures of a flood."""
    shed, wall = flood.seconds(_SHED), flood.cost.wall
    # What a served check costs is known from the peak; the rest went into answers of 503.
    cpu = best.cost.service_cpu / best.ended * flood.ended
    each = 1000 * max(0.0, flood.cost.service_cpu - cpu) / max(1, len(shed))
    ratio = flood.per_core / best.per_core
    health = 1000 * percentile(flood.health, 0.99)
    figures = [
        Figure("peak before or after", best.per_second, "/s"),
        Figure("offered", len(flood.answers) / wall, "/s"),
        Figure("served", flood.per_second, "/s"),
        Figure("cores that the clients took", CORES - flood.cost.left_cores),
        at_least("goodput against the peak, for each core left", ratio, 0.95),
        Figure("goodput against the peak, by the clock", flood.per_second / best.per_second),
        at_most("the admitted, p99", percentile(flood.seconds(OK), 0.99), _DEADLINE, "s"),
        Figure("sent away", len(shed) / len(flood.answers)),
        at_most("time to a 503, p99", 1000 * percentile(shed, 0.99), 50, "ms"),
        Figure("processor time of a 503", each, "ms"),
        at_most(f"health, p99 of {len(flood.health)}", health, 100, "ms"),
    ]
    return [replace(figure, name=f"{times} times: {figure.name}") for figure in figures]


async def measure(running: Running, seconds: float) -> list[Figure]:
    """Find the peak, go above it, and look at the peak again: the machine may have changed."""
    await peak(running, 1.0)
    figures: list[Figure] = []
    for times in (5, 20):
        before = await peak(running, seconds / 2)
        rush = Rush(running, times * before.per_second)
        flood = await rush.run(first=2.0, seconds=seconds)
        after = await peak(running, seconds / 2)
        best = max(before, after, key=lambda each: each.per_core)
        figures += told(times, flood, best)
    return [*figures, Figure("resident memory at the end", running.resident_mib(), "MiB")]


def main() -> None:
    """Measure and report."""
    seconds = 3.0 if asked_to_be_quick(__doc__) else 10.0
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), 1000, {**OPTIONS, "LALEPASS_SERVER__MAX_CONNECTIONS": "8192"}) as (
            running,
        ),
    ):
        figures = uvloop.run(measure(running, seconds))
    report("overload", "Checks offered above the capacity, clients on the same cores:", figures)


if __name__ == "__main__":
    main()
