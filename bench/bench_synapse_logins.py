"""What does a login cost the homeserver, and how much longer does it take?

    make bench                     or: python -m bench.bench_synapse_logins [--rounds N]

Real homeservers, all running, and one of them at a time is asked, in turns within one run, so that
a noisy machine is noisy to all of them:

* `instant`: a module that knows everybody and asks nobody. What is left is Synapse's own work.
* `asking`: a module that asks with our client and does nothing else: the way there and back.
* `lalepass`: our module, with accounts, links and profiles.
* `bcrypt`: no module; Synapse's own hash with its own 12 rounds.

The service is a process of its own on loopback that accepts everybody at once. Processor time is
that of the homeserver's process with all its threads, as the kernel counts it (schedstat), while 8
clients log in, each time on a new device. Added latency is the median login of one client alone.
"""

import argparse
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bcrypt

from bench import homeservers
from bench.homeservers import PASSWORD, PEOPLE, Client, Homeserver
from bench.load import keep, percentile
from tools.processes import LOOPBACK

CLIENTS: Final = 8
TARGET: Final = 1.15
_ROUNDS_OF_SYNAPSE: Final = 12


@dataclass
class Cell:
    """One homeserver, and what was measured of it."""

    name: str
    homeserver: Homeserver
    logins: int
    """In each round, by 8 clients at a time."""
    alone: int
    """In each round, by one client."""
    cpu_ms: list[float] = field(default_factory=list)
    """Of one login, by round."""
    latency_ms: list[float] = field(default_factory=list)
    """Of one login by one client alone."""

    def warm_up(self) -> None:
        """Let everybody log in once: accounts are linked, caches are filled."""
        client = Client(self.homeserver.port)
        for number in range(min(self.logins, PEOPLE)):
            client.log_in(number, device=homeservers.device())
        client.close()

    def measure(self) -> None:
        """Log in, first one after the other, then 8 at a time."""
        client = Client(self.homeserver.port)
        for number in range(self.alone):
            seconds = client.log_in(number, device=homeservers.device())
            self.latency_ms.append(seconds * 1000)
        client.close()
        before = self.homeserver.cpu_seconds()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._some, range(CLIENTS)))
        self.cpu_ms.append((self.homeserver.cpu_seconds() - before) / self.logins * 1000)

    def _some(self, which: int) -> None:
        client = Client(self.homeserver.port)
        for number in range(self.logins // CLIENTS):
            client.log_in(which + number * CLIENTS, device=homeservers.device())
        client.close()

    def figures(self, instant: "Cell") -> dict[str, float]:
        """Return the medians, the ratios of each round to `instant`, and the added latency."""
        ratios = [mine / other for mine, other in zip(self.cpu_ms, instant.cpu_ms, strict=True)]
        return {
            "cpu_ms": round(statistics.median(self.cpu_ms), 3),
            "cpu_ratio": round(statistics.median(ratios), 3),
            "latency_p50_ms": round(statistics.median(self.latency_ms), 2),
            "latency_p99_ms": round(percentile(self.latency_ms, 0.99), 2),
            "added_p50_ms": round(
                statistics.median(self.latency_ms) - statistics.median(instant.latency_ms), 2
            ),
        }


def start(stack: ExitStack, directory: Path, port: int) -> list[Cell]:
    """Start the homeservers, with people who have logged in before."""
    url = f"http://{LOOPBACK}:{port}"
    extra = {
        "instant": homeservers.instant(),
        "asking": homeservers.asking(url=url, token=homeservers.TOKEN),
        "lalepass": None,
        "bcrypt": homeservers.bcrypt(),
    }
    cells: list[Cell] = []
    for name, options in extra.items():
        homeserver = stack.enter_context(
            homeservers.running(directory / name, service_port=port, extra=options)
        )
        slow = name == "bcrypt"
        homeserver.add_people(own_hash() if slow else None)
        cells.append(Cell(name, homeserver, CLIENTS if slow else 160, 2 if slow else 30))
        cells[-1].warm_up()
    return cells


def own_hash() -> str:
    """Return what Synapse stores for the password (`handlers/auth.py`, AuthHandler.hash)."""
    return bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(_ROUNDS_OF_SYNAPSE)).decode()


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with (
        ExitStack() as stack,
        tempfile.TemporaryDirectory() as directory,
        homeservers.service() as port,
    ):
        cells = start(stack, Path(directory), port)
        for _ in range(rounds):
            for cell in cells:
                cell.measure()
        report({cell.name: cell.figures(cells[0]) for cell in cells})


def report(rows: dict[str, dict[str, float]]) -> None:
    """Print the table and keep the figures."""
    print(f"A login on a real Synapse: processor time with {CLIENTS} clients, time with one:")
    print(f"{'':<10}{'CPU ms':>10}{'ratio':>8}{'p50 ms':>10}{'p99 ms':>10}{'added ms':>10}")
    for name, row in rows.items():
        print(
            f"{name:<10}{row['cpu_ms']:>10.2f}{row['cpu_ratio']:>8.2f}{row['latency_p50_ms']:>10.1f}"
            f"{row['latency_p99_ms']:>10.1f}{row['added_p50_ms']:>10.1f}"
        )
    for name in ("asking", "lalepass"):
        verdict = "within" if rows[name]["cpu_ratio"] <= TARGET else "above"
        print(f"{name}: {verdict} the target of {TARGET} times the instant module")
    keep("synapse_logins", {**rows, "target": TARGET})


if __name__ == "__main__":
    main()
