"""What a check costs beside its hash: one service, eight clients, against the bare hash loop.

Both are measured in turns within one run, for two cores that others use, too, drift by a factor.
"""

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from nacl import bindings

from bench.load import PASSWORD, Answer, Client, Running, keep, record, serving

CLIENTS: Final = 8
THREADS: Final = 2
_OK: Final = 200


@dataclass(frozen=True)
class Turn:
    """So many checks in so much time."""

    checks: int
    wall: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Checks a second by the clock."""
        return self.checks / self.wall

    @property
    def cpu_ms(self) -> float:
        """Processor time of a check."""
        return 1000 * self.cpu / self.checks


def bare(seconds: float) -> Turn:
    """Verify on two threads and do nothing else."""
    phc, password = record(), PASSWORD.encode()
    counts = [0] * THREADS
    end = time.perf_counter() + seconds

    def loop(thread: int) -> None:
        while time.perf_counter() < end:
            bindings.crypto_pwhash_str_verify(phc, password)
            counts[thread] += 1

    began, cpu = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=loop, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Turn(sum(counts), time.perf_counter() - began, time.process_time() - cpu)


async def served(running: Running, seconds: float, clients: int) -> tuple[Turn, list[Answer]]:
    """Check as fast as the service answers, each client a different account each time."""
    answers: list[Answer] = []
    end = time.perf_counter() + seconds

    async def loop(number: int) -> None:
        client = Client(running.service.port)
        account = number
        while time.perf_counter() < end:
            answers.append(await client.ask(running.request(f"u{account % 1000}")))
            account += clients
        client.close()

    began, cpu = time.perf_counter(), running.cpu_seconds()
    await asyncio.gather(*map(loop, range(clients)))
    turn = Turn(len(answers), time.perf_counter() - began, running.cpu_seconds() - cpu)
    if any(answer.status != _OK for answer in answers):
        raise RuntimeError(f"answered with {sorted({answer.status for answer in answers})}")
    return turn, answers


def one_hash() -> float:
    """Return the milliseconds of one hash with nothing else going on."""
    phc, password = record(), PASSWORD.encode()
    began = time.perf_counter()
    bindings.crypto_pwhash_str_verify(phc, password)
    return 1000 * (time.perf_counter() - began)


async def measure(running: Running, rounds: int, seconds: float) -> dict[str, float]:
    """Take turns, and compare medians."""
    await served(running, 1.0, CLIENTS)
    bares, serveds, alone, latencies = [], [], [], []
    for _ in range(rounds):
        bares.append(bare(seconds))
        serveds.append((await served(running, seconds, CLIENTS))[0])
        alone += [one_hash() for _ in range(30)]
        _, answers = await served(running, seconds / 2, 1)
        latencies += [1000 * answer.seconds for answer in answers]
    median = statistics.median
    return {
        "bare_per_second": median(turn.per_second for turn in bares),
        "served_per_second": median(turn.per_second for turn in serveds),
        "bare_cpu_ms": median(turn.cpu_ms for turn in bares),
        "served_cpu_ms": median(turn.cpu_ms for turn in serveds),
        "share_by_wall": median(
            served.per_second / bare.per_second for bare, served in zip(bares, serveds, strict=True)
        ),
        "share_by_cpu": median(
            bare.cpu_ms / served.cpu_ms for bare, served in zip(bares, serveds, strict=True)
        ),
        "one_hash_ms": median(alone),
        "one_client_ms": median(latencies),
        "added_ms": median(latencies) - median(alone),
    }


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), 1000, LALEPASS_HASHING__THREADS=str(THREADS)) as running,
    ):
        figures = uvloop.run(measure(running, options.rounds, options.seconds))
    print(f"{CLIENTS} clients, {THREADS} hashing threads, all rules on, against the bare hash:")
    for name, value in figures.items():
        print(f"  {name:<20}{value:>10.3f}")
    keep("checks", figures)


if __name__ == "__main__":
    main()
