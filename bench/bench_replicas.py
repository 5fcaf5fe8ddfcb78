"""Do four replicas check four times as much as one? On one PostgreSQL and one Valkey, in turns.

They sleep instead of hashing: four of them would need four cores to hash on. What they share, and
what is written beside the hash, is all there.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figure, asked_to_be_quick, at_least, left_out, others, report
from bench.load import Running, closed_loop, only_good
from bench.sites import PEOPLE, cpu_seconds, hash_seconds, settings_of, site
from tests.servers.pair import primary
from tests.servers.postgres import Postgres
from tests.servers.server import Missing
from tests.servers.valkey import Valkey, valkey

COUNTS: Final = (1, 2, 4)
_CLIENTS: Final = 4
"""Of each replica: one is hashed, and the next one waits."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What some replicas did together."""

    replicas: int
    checks: int
    seconds: float
    service_cpu: float
    postgres_cpu: float
    valkey_cpu: float

    @property
    def rate(self) -> float:
        """Checks a second."""
        return self.checks / self.seconds


class Shop:
    """Replicas, and what they share."""

    def __init__(self, running: Sequence[Running], server: Postgres, counters: Valkey) -> None:
        self._running = running
        self._server = server
        self._counters = counters

    async def turn(self, replicas: int, seconds: float) -> Turn:
        """Let the first of them check as fast as they can, each other people."""
        asked = self._running[:replicas]
        before, began = self._cpu(asked), time.perf_counter()
        answers = await asyncio.gather(
            *(
                closed_loop(
                    running,
                    clients=_CLIENTS,
                    seconds=seconds,
                    first=number * PEOPLE // len(self._running),
                    placed=True,
                )
                for number, running in enumerate(asked)
            )
        )
        took, after = time.perf_counter() - began, self._cpu(asked)
        service, postgres, keys = (end - start for start, end in zip(before, after, strict=True))
        return Turn(
            replicas=replicas,
            checks=sum(len(only_good(each)) for each in answers),
            seconds=took,
            service_cpu=service,
            postgres_cpu=postgres,
            valkey_cpu=keys,
        )

    def _cpu(self, asked: Sequence[Running]) -> tuple[float, float, float]:
        service = sum(running.cpu_seconds() for running in asked)
        return service, cpu_seconds(self._server), cpu_seconds(self._counters)


async def measure(shop: Shop, *, rounds: int, seconds: float) -> list[dict[int, Turn]]:
    """Take turns, each round in the other order than the one before."""
    for count in COUNTS:
        await shop.turn(count, 2.0)
    found = []
    for number in range(rounds):
        order = COUNTS if number % 2 else reversed(COUNTS)
        found.append({count: await shop.turn(count, seconds) for count in order})
    return found


def figures(rounds: Sequence[Mapping[int, Turn]], *, hash_seconds: float) -> list[Figure]:
    """Compare each round with itself, and say the medians."""
    median, most = statistics.median, COUNTS[-1]
    made = [Figure("one replica could, with nothing beside the hash", 1 / hash_seconds, "/s")]
    for count in COUNTS:
        name = "1 replica" if count == 1 else f"{count} replicas"
        made.append(Figure(name, median(turns[count].rate for turns in rounds), "/s"))
    for count in COUNTS[1:]:
        shares = [turns[count].rate / (count * turns[1].rate) for turns in rounds]
        made.append(at_least(f"{count} replicas, share of {count} times one", median(shares), 0.95))
    for name, spent in (
        ("the service", [turns[most].service_cpu / turns[most].checks for turns in rounds]),
        ("PostgreSQL", [turns[most].postgres_cpu / turns[most].checks for turns in rounds]),
        ("Valkey", [turns[most].valkey_cpu / turns[most].checks for turns in rounds]),
    ):
        made.append(Figure(f"a check, processor time of {name}", 1000 * median(spent), "ms"))
    return made


def main() -> None:
    """Measure and report."""
    quick = asked_to_be_quick(__doc__)
    length = hash_seconds()
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            primary() as server,
            valkey() as counters,
        ):
            database = server.create_database()
            settings = settings_of(database=database, valkey=counters, replicas=COUNTS[-1])
            with site(
                Path(directory) / "site",
                settings,
                database=database,
                seconds=length,
                replicas=COUNTS[-1],
            ) as running:
                load = others()
                shop = Shop(running, server, counters)
                rounds = uvloop.run(measure(shop, rounds=2 if quick else 9, seconds=4.0))
    except Missing as missing:
        left_out("replicas", str(missing))
        return
    title = (
        "Replicas with one slot each, on PostgreSQL and Valkey; in the place of the hash "
        f"a sleep of the same length, {1000 * length:.1f} ms:"
    )
    report("replicas", title, [load, *figures(rounds, hash_seconds=length)])


if __name__ == "__main__":
    main()
