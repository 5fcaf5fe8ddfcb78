"""What a check costs beside its hash: one service, eight clients, against the bare hash loop.

Once with libsodium, once with what is compiled for this processor, where that can be built: the
faster the hash, the greater the share of all else. The bare loop calls the same binding. Loop and
service are measured in turns within one run, for two cores that others use, too, drift by a factor.
"""

import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figure, asked_to_be_quick, at_least, at_most, report
from bench.installations import Installation, installations
from bench.load import (
    OPTIONS,
    PASSWORD,
    SLOTS,
    Client,
    Running,
    closed_loop,
    only_good,
    record,
    serving,
)
from lalepass_service.adapters.hashing.bindings import Binding

CLIENTS: Final = 8
_TURN: Final = 10


@dataclass(frozen=True)
class Turn:
    """So many checks in so much time."""

    checks: int
    wall: float
    cpu: float
    client_cpu: float = 0.0

    @property
    def per_second(self) -> float:
        """Checks a second by the clock."""
        return self.checks / self.wall

    @property
    def cpu_ms(self) -> float:
        """Processor time of a check."""
        return 1000 * self.cpu / self.checks


def bare(binding: Binding, seconds: float) -> Turn:
    """Verify on two threads and do nothing else."""
    phc, password = record(), PASSWORD.encode()
    counts = [0] * SLOTS
    end = time.perf_counter() + seconds

    def loop(thread: int) -> None:
        while time.perf_counter() < end:
            binding.verify(password, phc=phc)
            counts[thread] += 1

    began, cpu = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=loop, args=(number,)) for number in range(SLOTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Turn(sum(counts), time.perf_counter() - began, time.process_time() - cpu)


async def served(running: Running, seconds: float) -> Turn:
    """Check as fast as the service answers."""
    with running.cost() as costs:
        answers = only_good(await closed_loop(running, clients=CLIENTS, seconds=seconds))
    cost = costs[0]
    return Turn(len(answers), cost.wall, cost.service_cpu, cost.client_cpu)


async def one_after_the_other(
    running: Running, binding: Binding, turns: int
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of hashes here and of checks there, ten of each in turn."""
    hashes, checks = [], []
    phc, password = record(), PASSWORD.encode()
    client = Client(running.service.port)
    for number in range(turns):
        for _ in range(_TURN):
            began = time.perf_counter()
            binding.verify(password, phc=phc)
            hashes.append(1000 * (time.perf_counter() - began))
        for each in range(_TURN):
            request = running.request(f"u{(number * _TURN + each) % 1000}")
            checks += [1000 * one.seconds for one in only_good([await client.ask(request)])]
    client.close()
    return hashes, checks


async def measure(
    running: Running, binding: Binding, *, rounds: int, seconds: float
) -> list[Figure]:
    """Take turns, and compare medians."""
    await served(running, 1.0)
    bares, serveds, hashes, checks = [], [], [], []
    for _ in range(rounds):
        bares.append(bare(binding, seconds))
        serveds.append(await served(running, seconds))
        some_hashes, some_checks = await one_after_the_other(running, binding, int(5 * seconds))
        hashes += some_hashes
        checks += some_checks
    median, turns = statistics.median, list(zip(bares, serveds, strict=True))
    clients = median(turn.client_cpu / turn.checks for turn in serveds)
    return [
        Figure("bare hash loop", median(turn.per_second for turn in bares), "/s"),
        Figure("bare hash, processor time", median(turn.cpu_ms for turn in bares), "ms"),
        Figure("checks over HTTP", median(turn.per_second for turn in serveds), "/s"),
        Figure("check, processor time", median(turn.cpu_ms for turn in serveds), "ms"),
        Figure("its client, processor time on the same cores", 1000 * clients, "ms"),
        at_least("share by processor time", median(b.cpu_ms / s.cpu_ms for b, s in turns), 0.95),
        at_least("share by the clock", median(s.per_second / b.per_second for b, s in turns), 0.9),
        Figure("one hash with nothing else going on, p50", median(hashes), "ms"),
        Figure("one check, one client, p50", median(checks), "ms"),
        at_most("what the service adds, p50", median(checks) - median(hashes), 3.0, "ms"),
    ]


def of(installation: Installation, *, rounds: int) -> list[Figure]:
    """Measure one of them."""
    options = {**OPTIONS, **installation.environment}
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), 1000, options, python=installation.python) as (running,),
    ):
        figures = uvloop.run(measure(running, installation.binding, rounds=rounds, seconds=2.0))
    return [replace(each, name=f"{installation.name}: {each.name}") for each in figures]


def main() -> None:
    """Measure and report."""
    rounds = 2 if asked_to_be_quick(__doc__) else 9
    with installations() as each:
        figures = [figure for one in each for figure in of(one, rounds=rounds)]
    title = f"{CLIENTS} clients, {SLOTS} hashing threads, all rules on, against the bare hash:"
    report("checks", title, figures)


if __name__ == "__main__":
    main()
