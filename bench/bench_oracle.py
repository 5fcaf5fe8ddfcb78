"""Can a stranger tell by the time what there is of an account?

Wrong passwords at names that nobody has and at accounts of every sort, in an order that chance
decides: how far the medians are apart, and how often one would be right about a pair (AUC, 0.5 is
chance). Once with nothing else going on, one check after the other; once at nine tenths of what the
service can do, where the checks that are measured are the load. And the same for accounts whose
guesses are used up, which are not hashed, or are so only for who comes from where their owner is
known. With libsodium, and with what is compiled for this processor, where that can be built.

Two more are measured with nothing else going on: records of which every fourth is a foreign one,
where an account of any kind is held against a name that nobody has (of one kind alone it can be
told how many are of it: docs/decisions.md, 16); and accounts whose right password was remembered a
moment ago (`[check] cache_seconds`).
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
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figure, asked_to_be_quick, at_most, between, report
from bench.installations import Installation, installations
from bench.load import (
    OK,
    OPTIONS,
    Client,
    Running,
    closed_loop,
    fill,
    id_of,
    only_good,
    serving,
)
from lalepass_service.adapters.clock import SystemClock
from lalepass_service.adapters.hashing.decoys import decoy
from lalepass_service.adapters.keys import KeyDirectory, KeyVault
from lalepass_service.core.check import account_of
from lalepass_service.core.digests import Digests
from lalepass_service.core.guard import payer_of
from lalepass_service.core.identifiers import ByLocalpart

_THROTTLED: Final = 429
_WARM_UP: Final = 20
_MORE: Final = 3
"""Times as many under load, where answers take between one hash and ten: medians of 2 000 of those
are 2 % apart by chance alone, one time in ten."""

SORTS: Final = {
    "nobody": "nobody{}",
    "a known one": "u{}",
    "a disabled one": "disabled{}",
    "one without a password": "empty{}",
}
# Of the names that nobody has, each lies beside one that somebody has, as those do that a stranger
# guesses: or all of them would be looked for in one warm page.
USED_UP: Final = {"nobody, used up": "closed{}x", "a known one, used up": "closed{}"}
HELD: Final = {"nobody, from somewhere": "held{}x", "a locked one, from its place": "held{}"}
MIXED: Final = {"nobody, records mixed": "nobody{}", "anybody, records mixed": "any{}"}
REMEMBERED: Final = {"nobody, with a cache": "nobody{}", "a remembered one": "u{}"}
_FOREIGN: Final = "sha512-crypt,rounds=5000"
_ONE_IN: Final = 4
_CLIENTS: Final = 8
_SENT_AWAY: Final = 503
_FEW: Final = 0.05
Times = dict[str, list[float]]


def _shuffled(sorts: dict[str, str], samples: int, *, begin: int) -> Iterator[tuple[str, str]]:
    """Yield each sort so many times, each time with another name, in any order.

    Accounts that were made one after the other lie together, and would keep one another warm.
    """
    order = random.Random(begin)  # noqa: S311 - an order, and no secret
    numbers = list(range(begin, begin + samples))
    order.shuffle(numbers)
    for number in numbers:
        pairs = [(sort, name.format(number)) for sort, name in sorts.items()]
        order.shuffle(pairs)
        yield from pairs


async def idle(
    running: Running,
    sorts: dict[str, str],
    *,
    samples: int,
    begin: int = 0,
    status: int = OK,
    placed: bool = False,
) -> Times:
    """Ask one after the other, each from an address of its own if so wished."""
    client = Client(running.service.port)
    times: Times = {sort: [] for sort in sorts}
    for sort, name in _shuffled(sorts, samples + _WARM_UP, begin=begin):
        ip = _place(name) if placed else None
        answer = await client.ask(running.request(name, "a wrong one", ip=ip))
        if answer.status != status:
            raise RuntimeError(f"answered with {answer.status}")
        times[sort].append(1000 * answer.seconds)
    client.close()
    return {sort: some[_WARM_UP:] for sort, some in times.items()}


async def loaded(running: Running, *, samples: int, begin: int, per_second: float) -> Times:
    """Ask at times that chance decides, so many a second.

    Chance may ask for more in a moment than is answered, and a machine may have other things to do:
    who is sent away is asked about no more. With many of them it is another load than was meant.
    """
    times: Times = {sort: [] for sort in SORTS}
    chance = random.Random(2)  # noqa: S311 - as above
    idle_clients: list[Client] = []
    sent_away = 0

    async def one(sort: str, name: str) -> None:
        nonlocal sent_away
        client = idle_clients.pop() if idle_clients else Client(running.service.port)
        answer = await client.ask(running.request(name, "a wrong one"))
        idle_clients.append(client)
        if answer.status == _SENT_AWAY:
            sent_away += 1
        elif answer.status == OK:
            times[sort].append(1000 * answer.seconds)
        else:
            raise RuntimeError(f"answered with {answer.status}")

    due = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for sort, name in _shuffled(SORTS, samples, begin=begin):
            due += chance.expovariate(per_second)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(sort, name))
    for client in idle_clients:
        client.close()
    if sent_away > _FEW * len(SORTS) * samples:
        raise RuntimeError(f"{sent_away} were sent away: more than it can serve was asked for")
    return times


def _place(name: str) -> str:
    """Return an address for a name: the same for each sort, by its number."""
    number = int("".join(each for each in name if each.isdigit()))
    return f"2001:db8:{number:x}::1"


async def come_in(running: Running, names: list[str], *, placed: bool = False) -> None:
    """Check the right password of each."""
    left = list(names)

    async def one() -> None:
        client = Client(running.service.port)
        while left:
            name = left.pop()
            ip = _place(name) if placed else None
            only_good([await client.ask(running.request(name, ip=ip))])
        client.close()

    await asyncio.gather(*(one() for _ in range(_CLIENTS)))


async def held(running: Running, samples: int) -> list[Figure]:
    """Compare accounts whose guesses are used up for everybody but their owner."""
    names = samples + _WARM_UP
    await come_in(running, [f"held{number}" for number in range(names)], placed=True)
    # What a right password takes back is written a moment later.
    await asyncio.sleep(1)
    with closing(sqlite3.connect(running.service.directory / "lalepass.db")) as connection:
        rows = connection.execute("SELECT id FROM users WHERE localpart LIKE 'held%'")
        _close(connection, [user_id for (user_id,) in rows])
    return compared("idle", await idle(running, HELD, samples=samples, placed=True))


async def remembered(running: Running, samples: int) -> list[Figure]:
    """Compare accounts that were entered just now."""
    await come_in(running, [f"u{number}" for number in range(samples + _WARM_UP)])
    return compared("idle", await idle(running, REMEMBERED, samples=samples))


async def mixed(running: Running, samples: int) -> list[Figure]:
    """Compare accounts of which some have a foreign record."""
    return compared("idle", await idle(running, MIXED, samples=samples))


async def measure(running: Running, samples: int, seconds: float) -> list[Figure]:
    """Compare every sort with the names that nobody has."""
    result = compared("idle", await idle(running, SORTS, samples=samples))
    used_up = await idle(running, USED_UP, samples=samples, status=_THROTTLED)
    result += compared("idle", used_up)
    result += await held(running, samples)
    best = len(await closed_loop(running, clients=8, seconds=seconds)) / seconds
    begin = samples + _WARM_UP
    times = await loaded(running, samples=_MORE * samples, begin=begin, per_second=0.9 * best)
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


def use_up(home: Path, names: int) -> None:
    """Take all guesses from accounts, and from names that nobody has."""
    digests = Digests(KeyVault(KeyDirectory(home / "keys")).derive("digests"))

    def payer(name: str) -> str:
        near = digests.near(account_of(ByLocalpart(name), None))
        return payer_of(None, near=near)

    nobody = USED_UP["nobody, used up"]
    with closing(sqlite3.connect(home / "lalepass.db")) as connection:
        ids = connection.execute("SELECT id FROM users WHERE localpart LIKE 'closed%'")
        accounts = [user_id for (user_id,) in ids]
        accounts += [payer(nobody.format(number)) for number in range(names)]
        # In any order, as they would have come: rows that were written together lie together.
        random.Random(3).shuffle(accounts)  # noqa: S311 - an order, and no secret
        _close(connection, accounts)


def _close(connection: sqlite3.Connection, accounts: list[str]) -> None:
    # Now: what is old is forgotten when the service starts.
    made = SystemClock().now().isoformat(timespec="microseconds")
    with connection:
        connection.executemany(
            "INSERT INTO lanes (account, lane, failures, ring, changed_at)"
            " VALUES (?, x'', 100, x'', ?)",
            [(account, made) for account in accounts],
        )


def mix(home: Path, names: int) -> None:
    """Make accounts of which some have a foreign record."""
    fill(home, names, prefix="any")
    vault = KeyVault(KeyDirectory(home / "keys"))
    rows = []
    for number in range(0, names, _ONE_IN):
        user_id = id_of(number, "any")
        phc, key_id = vault.seal(decoy(_FOREIGN).phc, user_id=user_id)
        rows.append((phc, key_id, _FOREIGN, user_id))
    with closing(sqlite3.connect(home / "lalepass.db")) as connection, connection:
        connection.executemany(
            "UPDATE passwords SET phc = ?, key_id = ?, scheme = ? WHERE user_id = ?", rows
        )


def of(installation: Installation, *, samples: int, seconds: float) -> list[Figure]:
    """Measure accounts of every sort with one binding."""
    names = (1 + _MORE) * samples + _WARM_UP

    def prepare(home: Path) -> None:
        fill(home, names, prefix="disabled", state="disabled")
        fill(home, names, prefix="empty", password=False)
        for prefix in ("closed", "held"):
            fill(home, names, prefix=prefix)
        use_up(home, names)

    with (
        tempfile.TemporaryDirectory() as directory,
        serving(
            Path(directory),
            max(names, 1000),
            {**OPTIONS, **installation.environment},
            python=installation.python,
            prepare=prepare,
        ) as (running,),
    ):
        figures = uvloop.run(measure(running, samples, seconds))
    return [replace(each, name=f"{installation.name}, {each.name}") for each in figures]


def besides(samples: int) -> list[Figure]:
    """Measure foreign records, and the cache."""
    names = samples + _WARM_UP
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), 0, OPTIONS, prepare=lambda home: mix(home, names)) as (running,),
    ):
        figures = uvloop.run(mixed(running, samples))
    cached = {**OPTIONS, "LALEPASS_CHECK__CACHE_SECONDS": "300"}
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), names, cached) as (running,),
    ):
        return figures + uvloop.run(remembered(running, samples))


def main() -> None:
    """Measure and report."""
    quick = asked_to_be_quick(__doc__)
    samples, seconds = (100, 1.0) if quick else (2000, 4.0)
    figures: list[Figure] = []
    with installations() as each:
        for one in each:
            figures += of(one, samples=samples, seconds=seconds)
    figures += besides(samples)
    report("oracle", "Wrong passwords, against names that nobody has:", figures)


if __name__ == "__main__":
    main()
