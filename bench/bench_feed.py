"""What it costs to follow a million locked accounts, and how soon a change is told.

Three figures: reading all locked names by pages, as each process of a homeserver does when it
starts for the first time, and what that does to others (the time of `GET /health/live`); many who
wait for nothing; and the time from an operator's commit, in another process, to the answer.
"""

import argparse
import asyncio
import http.client
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from bench.load import Running, keep, percentile
from lalepass_service.adapters.clock import SystemClock
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.audit import Actor, Event
from lalepass_service.core.model import UserId, UserState
from lalepass_wire import limits, paths
from tools.processes import LOOPBACK, free_port
from tools.service import Service

_OK: Final = 200
_TURNS: Final = 20


class Caller:
    """One keep-alive connection."""

    def __init__(self, running: Running) -> None:
        self._headers = {"Authorization": f"Bearer {running.token}"}
        self._connection = http.client.HTTPConnection(LOOPBACK, running.service.port, timeout=120)

    def get(self, path: str) -> tuple[Any, float]:
        """Return an answer, and the seconds that it took."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != _OK:
            raise RuntimeError(f"answered with {answer.status}")
        return json.loads(body), time.perf_counter() - began

    def changes(self, after: str, wait: int) -> Any:  # noqa: ANN401 - JSON
        """Ask for changes."""
        return self.get(f"{paths.CHANGES}?after={after}&wait={wait}")[0]

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@contextmanager
def serving(directory: Path, *, locked: int, active: int) -> Iterator[Running]:
    """Start a service with so many accounts in either state."""
    environment = {"LALEPASS_LOG__LEVEL": "warning"}
    service = Service(directory=directory / "service", port=free_port(), environment=environment)
    service.init()
    token = directory / "token"
    service.run("token", "create", "bench", "--scope", "feed", "--output", str(token))
    query = "INSERT INTO users (id, localpart, state, admin, created_at) VALUES (?, ?, ?, 0, ?)"
    made = "2026-01-01T00:00:00.000000+00:00"
    with closing(sqlite3.connect(service.directory / "lalepass.db")) as connection, connection:
        for state, count in (("disabled", locked), ("active", active)):
            rows = ((f"{state}-{n:08}", f"{state}.person{n:08}", state, made) for n in range(count))
            connection.executemany(query, rows)
    with service.process() as process:
        process.wait_until_healthy(timeout=120)
        if process.pid is None:
            raise RuntimeError("the service has ended")
        yield Running(service, process.pid, token.read_text().strip())


def read_all(running: Running, expected: int) -> dict[str, float]:
    """Read every page, and look meanwhile how long a small request takes."""
    caller, seconds, seen, after = Caller(running), [], 0, ""
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        idle = pool.submit(ping, running, done, seconds=3.0).result()
        beside = pool.submit(ping, running, done, seconds=600.0)
        before, began = running.cpu_seconds(), time.perf_counter()
        while True:
            page, took = caller.get(f"{paths.LOCKED}?limit={limits.MAX_LOCKED_PAGE}{after}")
            seconds.append(took)
            seen += len(page["localparts"])
            if not page["more"]:
                break
            after = f"&after={page['localparts'][-1]}"
        total, cpu = time.perf_counter() - began, running.cpu_seconds() - before
        done.set()
        busy = beside.result()
    if seen != expected:
        raise RuntimeError(f"{seen} names instead of {expected}")
    return {
        "names": seen,
        "pages": len(seconds),
        "page_p50_ms": 1000 * statistics.median(seconds),
        "page_max_ms": 1000 * max(seconds),
        "all_pages_s": total,
        "service_cpu_s_with_pings": cpu,
        "ping_idle_p50_ms": 1000 * statistics.median(idle),
        "ping_idle_p99_ms": 1000 * percentile(idle, 0.99),
        "ping_beside_p50_ms": 1000 * statistics.median(busy),
        "ping_beside_p99_ms": 1000 * percentile(busy, 0.99),
    }


def ping(running: Running, done: threading.Event, *, seconds: float) -> list[float]:
    """Ask for something small every few milliseconds, until it is done or the time is over."""
    caller, times, end = Caller(running), [], time.perf_counter() + seconds
    while time.perf_counter() < end and not done.wait(0.005):
        times.append(caller.get(paths.HEALTH_LIVE)[1])
    caller.close()
    return times


def wait_for_nothing(running: Running, waiting: int, seconds: float) -> dict[str, float]:
    """Let many wait, and see what that costs."""
    cursor = Caller(running).get(f"{paths.LOCKED}?limit=1")[0]["cursor"]
    callers = [Caller(running) for _ in range(waiting)]
    with ThreadPoolExecutor(waiting) as pool:
        asked = [
            pool.submit(each.changes, cursor, limits.MAX_FEED_WAIT_SECONDS) for each in callers
        ]
        time.sleep(2)  # noqa: TID251 - until all of them wait
        before, began = running.cpu_seconds(), time.perf_counter()
        time.sleep(seconds)  # noqa: TID251 - what is measured is what happens meanwhile
        share = (running.cpu_seconds() - before) / (time.perf_counter() - began)
        for each in asked:
            each.result()
    return {"waiting": waiting, "cpu_percent_of_a_core": 100 * share}


def told_after(running: Running) -> dict[str, float]:
    """Change an account from here, and see when one who waits has the answer."""
    seconds: Sequence[float] = asyncio.run(_tell(running))
    return {
        "changes": len(seconds),
        "told_p50_ms": 1000 * statistics.median(seconds),
        "told_max_ms": 1000 * max(seconds),
    }


async def _tell(running: Running) -> list[float]:
    caller, seconds = Caller(running), []
    database = Database.open(running.service.directory / "lalepass.db")
    users, by = SqlUsers(database), Actor(name="operator:bench")
    cursor = caller.get(f"{paths.LOCKED}?limit=1")[0]["cursor"]
    for turn in range(_TURNS):
        waiting = asyncio.create_task(asyncio.to_thread(caller.changes, cursor, 30))
        await asyncio.sleep(0.3 + 0.013 * turn)
        state = UserState.ACTIVE if turn % 2 else UserState.DISABLED
        act = by.act(Event.USER_DISABLED, at=SystemClock().now())
        await users.set_state(UserId("active-00000000"), state, act=act)
        began = time.perf_counter()
        cursor = (await waiting)["cursor"]
        seconds.append(time.perf_counter() - began)
    await database.close()
    return seconds


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--locked", type=int, default=1_000_000)
    parser.add_argument("--active", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=200)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), locked=options.locked, active=options.active) as running,
    ):
        result = {
            "pages": read_all(running, options.locked),
            "waiting": wait_for_nothing(running, options.waiting, 10.0),
            "told": told_after(running),
            "memory": {"resident_mib": running.resident_mib()},
        }
    print(f"{options.locked} locked accounts among {options.locked + options.active}:")
    for part in result.values():
        for name, value in part.items():
            print(f"  {name:<28}{value:>12.1f}")
    keep("feed", result)


if __name__ == "__main__":
    main()
