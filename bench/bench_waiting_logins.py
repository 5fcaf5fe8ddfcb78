"""Does a homeserver feel it when logins wait for their service?

    make bench                     or: python -m bench.bench_waiting_logins [--rounds N]

Two real homeservers, and 256 logins at a time that each wait some seconds: on one for a service
that is slow, through Lalepass, and on the other for nothing but a timer. How long does an unrelated
request take until the first of the logins is answered, and how long with nobody waiting? All of it
in turns within one run, so that a noisy machine is noisy to all.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from bench import homeservers
from bench.homeservers import Client, Homeserver
from bench.load import keep, percentile
from tools.processes import LOOPBACK

LOGINS: Final = 256
SECONDS: Final = 5.0
IDLE_REQUESTS: Final = 300


class Unrelated:
    """Somebody who has nothing to do with logins."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection(LOOPBACK, port, timeout=60)

    def ask(self) -> float:
        """Ask for the versions; return milliseconds."""
        begun = time.perf_counter()
        self._connection.request("GET", "/_matrix/client/versions")
        self._connection.getresponse().read()
        return (time.perf_counter() - begun) * 1000


def while_nobody_waits(homeserver: Homeserver) -> list[float]:
    """Return the times of unrelated requests."""
    unrelated = Unrelated(homeserver.port)
    return [unrelated.ask() for _ in range(IDLE_REQUESTS)]


def while_logins_wait(homeserver: Homeserver, people: ThreadPoolExecutor) -> list[float]:
    """Return the times of unrelated requests from the first login on until one is answered."""
    unrelated = Unrelated(homeserver.port)
    clients = []
    for _ in range(LOGINS):
        clients.append(Client(homeserver.port))
        unrelated.ask()  # so that all of them are accepted
    logins = [
        people.submit(client.log_in, number, device=homeservers.device())
        for number, client in enumerate(clients)
    ]
    times: list[float] = []
    while not any(login.done() for login in logins):
        times.append(unrelated.ask())
    for login, client in zip(logins, clients, strict=True):
        login.result(timeout=120)
        client.close()
    return times


def measure(directory: Path, rounds: int) -> dict[str, list[float]]:
    """Take turns; return milliseconds by what was going on."""
    times: dict[str, list[float]] = {"nobody waits": [], "for a timer": [], "for Lalepass": []}
    with (
        homeservers.service(seconds=SECONDS) as port,
        homeservers.running(
            directory / "timer", extra=homeservers.instant(seconds=SECONDS)
        ) as timer,
        homeservers.running(directory / "lalepass", service_port=port) as lalepass,
        ThreadPoolExecutor(LOGINS) as people,
    ):
        for homeserver in (timer, lalepass):
            homeserver.add_people(None)
            while_logins_wait(homeserver, people)  # warm up
        for _ in range(rounds):
            times["nobody waits"] += while_nobody_waits(lalepass)
            times["for a timer"] += while_logins_wait(timer, people)
            times["for Lalepass"] += while_logins_wait(lalepass, people)
    return times


def figures(times: list[float]) -> dict[str, float]:
    """Return how many, the median and the 99th percentile, in milliseconds."""
    return {
        "requests": len(times),
        "p50_ms": round(statistics.median(times), 2),
        "p99_ms": round(percentile(times, 0.99), 2),
    }


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        times = measure(Path(directory), rounds)
    report({state: figures(measured) for state, measured in times.items()})


def report(result: dict[str, dict[str, float]]) -> None:
    """Print the table and keep the figures."""
    print(f"GET /_matrix/client/versions on a Synapse where {LOGINS} logins wait, or none:")
    print(f"{'':<14}{'requests':>10}{'p50 ms':>10}{'p99 ms':>10}")
    for state, row in result.items():
        print(f"{state:<14}{row['requests']:>10}{row['p50_ms']:>10.2f}{row['p99_ms']:>10.2f}")
    timer, ours = result["for a timer"], result["for Lalepass"]
    p50, p99 = (ours[key] / timer[key] for key in ("p50_ms", "p99_ms"))
    print(f"{'Lalepass to timer':<24}{p50:>10.2f}{p99:>10.2f}")
    keep("waiting_logins", {**result, "lalepass_to_timer": {"p50": p50, "p99": p99}})


if __name__ == "__main__":
    main()
