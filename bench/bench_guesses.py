"""Ten thousand wrong guesses at one account at once, over four processes: how many are hashed?"""

import asyncio
import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figure, asked_to_be_quick, at_most, between, report
from bench.load import OK, OPTIONS, Client, Running, serving
from lalepass_service.core.softlock import seconds_after
from tools.processes import LOOPBACK

_PROCESSES: Final = 4
_CLIENTS: Final = 100
_THROTTLED: Final = 429


def budget(seconds: float) -> int:
    """Return how many guesses the rule allows within so many seconds."""
    guesses, begun = 1, 0.0
    while (begun := begun + seconds_after(guesses)) <= seconds:
        guesses += 1
    return guesses


def hashed(running: Running) -> int:
    """Ask a process how many hashes it has done."""
    connection = HTTPConnection(LOOPBACK, running.service.port, timeout=10)
    connection.request("GET", "/metrics")
    for line in connection.getresponse().read().decode().splitlines():
        if line.startswith("lalepass_hasher_completed_total "):
            return int(float(line.split()[1]))
    raise RuntimeError("the service does not say how many hashes it has done")


async def attack(services: list[Running], guesses: int) -> Counter[int]:
    """Guess another password each time, with many connections to each process."""
    numbers = iter(range(guesses))
    statuses: Counter[int] = Counter()

    async def guess(running: Running) -> None:
        client = Client(running.service.port)
        for number in numbers:
            answer = await client.ask(running.request("u0", f"guess {number}"))
            statuses[answer.status] += 1
        client.close()

    share = _CLIENTS // len(services)
    await asyncio.gather(*(guess(running) for running in services for _ in range(share)))
    return statuses


def main() -> None:
    """Measure and report."""
    guesses = 1000 if asked_to_be_quick(__doc__) else 10_000
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), 10, OPTIONS, processes=_PROCESSES) as services,
    ):
        before, began = sum(map(hashed, services)), time.perf_counter()
        statuses = uvloop.run(attack(services, guesses))
        seconds = time.perf_counter() - began
        done = sum(map(hashed, services)) - before
        database = services[0].service.directory / "lalepass.db"
        with closing(sqlite3.connect(database)) as connection:
            ((failures,),) = connection.execute("SELECT sum(failures) FROM lanes").fetchall()
    report(
        "guesses",
        f"{guesses} wrong guesses at one account, {_PROCESSES} processes on one database:",
        [
            Figure("took", seconds, "s"),
            Figure("told to wait", statuses[_THROTTLED]),
            at_most("hashed; the rule allows", done, budget(seconds)),
            between("refused; as many as were hashed", statuses[OK], done, done),
            between("counted as failures; as many as were hashed", failures, done, done),
            at_most("answered otherwise", guesses - statuses[OK] - statuses[_THROTTLED], 0),
        ],
    )


if __name__ == "__main__":
    main()
