"""Can a stranger tell by the time what there is of an account?

Wrong passwords at names that nobody has and at accounts of every sort, in an order that chance
decides: how far the medians are apart, and how often one would be right about a pair (AUC, 0.5 is
chance). Once with nothing else going on, one check after the other; once at nine tenths of what the
service can do, where the checks that are measured are the load. And the same for accounts whose
guesses are used up, which are not hashed.
"""

import asyncio
import bisect
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figure, asked_to_be_quick, at_most, between, report
from bench.load import OK, OPTIONS, Client, Running, closed_loop, fill, serving

_THROTTLED: Final = 429
_WARM_UP: Final = 20

SORTS: Final = {
    "nobody": "nobody{}",
    "a known one": "u{}",
    "a disabled one": "disabled{}",
    "one without a password": "empty{}",
}
USED_UP: Final = {"nobody, used up": "gone{}", "a known one, used up": "closed{}"}
Times = dict[str, list[float]]


def _shuffled(sorts: dict[str, str], samples: int, *, begin: int) -> Iterator[tuple[str, str]]:
    """Yield each sort so many times, with another name each time."""
    order = random.Random(begin)  # noqa: S311 - an order, and no secret
    for number in range(begin, begin + samples):
        pairs = [(sort, name.format(number)) for sort, name in sorts.items()]
        order.shuffle(pairs)
        yield from pairs


async def idle(
    running: Running, sorts: dict[str, str], *, samples: int, begin: int = 0, status: int = OK
) -> Times:
    """Ask one after the other."""
    client = Client(running.service.port)
    times: Times = {sort: [] for sort in sorts}
    for sort, name in _shuffled(sorts, samples + _WARM_UP, begin=begin):
        answer = await client.ask(running.request(name, "a wrong one"))
        if answer.status != status:
            raise RuntimeError(f"answered with {answer.status}")
        times[sort].append(1000 * answer.seconds)
    client.close()
    return {sort: some[_WARM_UP:] for sort, some in times.items()}


async def loaded(running: Running, *, samples: int, begin: int, per_second: float) -> Times:
    """Ask at times that chance decides, so many a second."""
    times: Times = {sort: [] for sort in SORTS}
    chance = random.Random(2)  # noqa: S311 - as above
    idle_clients: list[Client] = []

    async def one(sort: str, name: str) -> None:
        client = idle_clients.pop() if idle_clients else Client(running.service.port)
        answer = await client.ask(running.request(name, "a wrong one"))
        idle_clients.append(client)
        if answer.status != OK:
            raise RuntimeError(f"answered with {answer.status}")
        times[sort].append(1000 * answer.seconds)

    due = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for sort, name in _shuffled(SORTS, samples, begin=begin):
            due += chance.expovariate(per_second)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(sort, name))
    for client in idle_clients:
        client.close()
    return times


async def measure(running: Running, samples: int, seconds: float) -> list[Figure]:
    """Compare every sort with the names that nobody has."""
    result = compared("idle", await idle(running, SORTS, samples=samples))
    used_up = await idle(running, USED_UP, samples=samples, status=_THROTTLED)
    result += compared("idle", used_up)
    best = len(await closed_loop(running, clients=8, seconds=seconds)) / seconds
    times = await loaded(running, samples=samples, begin=samples + _WARM_UP, per_second=0.9 * best)
    return [*result, Figure("load", 0.9 * best, "/s"), *compared("loaded", times)]


def compared(when: str, times: Times) -> list[Figure]:
    """Return how far each sort is from the first: medians, and the area under the curve."""
    (first, base), *others = times.items()
    median = statistics.median(base)
    figures = [Figure(f"{when}: {first}, {len(base)} samples, p50", median, "ms")]
    for sort, some in others:
        apart = 100 * abs(statistics.median(some) - median) / median
        figures += [
            at_most(f"{when}: {sort}, medians apart", apart, 2.0, "%"),
            between(f"{when}: {sort}, AUC", auc(some, base), 0.48, 0.52),
        ]
    return figures


def auc(first: list[float], second: list[float]) -> float:
    """Return how often one of the first is greater than one of the second."""
    ordered = sorted(second)
    wins = sum(
        (bisect.bisect_left(ordered, value) + bisect.bisect_right(ordered, value)) / 2
        for value in first
    )
    return wins / (len(first) * len(second))


def use_up(database: Path, names: int) -> None:
    """Take all guesses from accounts, and from names that nobody has."""
    made = "2026-01-01T00:00:00.000000+00:00"
    with closing(sqlite3.connect(database)) as connection, connection:
        accounts = [f"name:{USED_UP['nobody, used up'].format(n)}" for n in range(names)]
        ids = connection.execute("SELECT id FROM users WHERE localpart LIKE 'closed%'")
        accounts += [user_id for (user_id,) in ids]
        connection.executemany(
            "INSERT INTO lanes (account, lane, failures, ring, changed_at)"
            " VALUES (?, x'', 100, x'', ?)",
            [(account, made) for account in accounts],
        )


def main() -> None:
    """Measure and report."""
    quick = asked_to_be_quick(__doc__)
    samples = 100 if quick else 2000
    names = 2 * samples + _WARM_UP
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), max(names, 1000), OPTIONS) as (running,),
    ):
        home = running.service.directory
        fill(home, names, prefix="disabled", state="disabled")
        fill(home, names, prefix="empty", password=False)
        fill(home, names, prefix="closed")
        use_up(home / "lalepass.db", names)
        figures = uvloop.run(measure(running, samples, 1.0 if quick else 4.0))
    report("oracle", "Wrong passwords, against names that nobody has:", figures)


if __name__ == "__main__":
    main()
