"""What a million locked accounts cost a homeserver: its start, its memory, each of its requests.

    make bench                     or: python -m bench.bench_locked [--locked N]

The same homeserver three times, in turns within one run: without the lifecycle, with it and nothing
known before, and with the file of what was known. And the question that Synapse asks about each
request, `is_user_expired`, with nobody and with everybody locked, in this process.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry

from bench.bench_feed import serving
from bench.load import Running, keep, percentile
from lalepass_provider.background import Work
from lalepass_provider.lifecycle import Lifecycle
from lalepass_provider.metrics import Metrics
from tools.processes import LOOPBACK, Process, free_port
from tools.synapse import SynapseConfig

ASKED: Final = 20_000
ROUNDS: Final = 5
_VERSIONS: Final = "/_matrix/client/versions"
_METRICS: Final = "/_synapse/metrics"
_LOCKED: Final = b"\nlalepass_provider_locked_accounts "
_FENCE: Final = 600.0


class _Homeserver:
    """As much of Synapse's module API as is touched by a question."""

    server_name = "hs.example"
    worker_app = "synapse.app.generic_worker"
    worker_name = "bench"

    def register_account_validity_callbacks(self, **_: object) -> None:
        """Nobody asks."""

    def register_password_auth_provider_callbacks(self, **_: object) -> None:
        """Nobody asks."""


class _NoBackground:
    """Starts nothing."""

    def start(self, name: str, work: Work) -> None:
        """Forget it."""

    def repeat(self, name: str, work: Work) -> None:
        """Forget it."""

    def at_end(self, name: str, work: Work, *, seconds: float) -> None:
        """Forget it."""


def ask(locked: int) -> dict[str, float]:
    """Return the microseconds of a question about somebody who is not locked."""
    lifecycle = Lifecycle(
        homeserver=cast("Any", _Homeserver()),
        service=cast("Any", None),
        is_ours=cast("Any", None),
        apply_profile=cast("Any", None),
        background=cast("Any", _NoBackground()),
        metrics=Metrics(CollectorRegistry()),
    )
    for number in range(locked):
        lifecycle.knowledge.locked.add(f"disabled.person{number:08}")
    people = [f"@active.person{number:08}:hs.example" for number in range(ASKED)]
    rounds = [asyncio.run(_ask(lifecycle.is_user_expired, people)) for _ in range(ROUNDS)]
    return {"median_us": 1e6 * statistics.median(rounds), "slowest_round_us": 1e6 * max(rounds)}


async def _ask(question: Callable[[str], Awaitable[bool | None]], people: list[str]) -> float:
    """Return the mean seconds of a question, the call of a coroutine included."""
    begun = time.perf_counter()
    for person in people:
        await question(person)
    return (time.perf_counter() - begun) / len(people)


def configured(directory: Path, service: Running, **lifecycle: object) -> SynapseConfig:
    """Return a homeserver whose metrics can be read, with these options of the lifecycle."""
    token = directory / "token-of-synapse"
    if not token.exists():
        token.write_text(service.token)
        token.chmod(0o600)
    port = free_port()
    listener = {
        "type": "http",
        "port": port,
        "bind_addresses": [LOOPBACK],
        "resources": [{"names": ["client", "metrics"], "compress": False}],
    }
    return SynapseConfig(
        directory=directory / "synapse",
        port=port,
        service_url=service.service.address,
        token_path=token,
        server_name="hs.example",
        module_options={"lifecycle": lifecycle},
        extra={"enable_metrics": True, "listeners": [listener]},
    )


def start(config: SynapseConfig, *, locked: int) -> dict[str, float]:
    """Start it, and return how long that took, what it needs, and how it felt meanwhile."""
    config.write()
    begun = time.perf_counter()
    with config.process() as process:
        process.wait_until_healthy(timeout=_FENCE)
        healthy = time.perf_counter() - begun
        connection = HTTPConnection(LOOPBACK, config.port, timeout=60)
        requests = []
        at_first = known = _locked(connection)
        while known < locked:
            if time.perf_counter() - begun > _FENCE:
                raise TimeoutError(f"{known:.0f} of {locked} are locked")
            for _ in range(20):
                requests.append(_request(connection))
                time.sleep(0.005)  # noqa: TID251 - unhurried
            known = _locked(connection)
        all_locked = time.perf_counter() - begun
        while len(requests) < 400:
            requests.append(_request(connection))
            time.sleep(0.005)  # noqa: TID251 - unhurried
        connection.close()
        return {
            "healthy_s": healthy,
            "locked_when_healthy": at_first,
            "all_locked_s": all_locked,
            "request_p50_ms": 1000 * statistics.median(requests),
            "request_p99_ms": 1000 * percentile(requests, 0.99),
            "resident_mib": _resident_mib(process),
        }


def _request(connection: HTTPConnection) -> float:
    begun = time.perf_counter()
    connection.request("GET", _VERSIONS)
    connection.getresponse().read()
    return time.perf_counter() - begun


def _locked(connection: HTTPConnection) -> float:
    connection.request("GET", _METRICS)
    metrics = connection.getresponse().read()
    return float(metrics.partition(_LOCKED)[2].split(b"\n", 1)[0] or 0)


def _resident_mib(process: Process) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not say how much memory is in use")


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--locked", type=int, default=1_000_000)
    options = parser.parse_args()
    result: dict[str, dict[str, float]] = {
        "question, nobody locked": ask(0),
        "question, all of them locked": ask(options.locked),
    }
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with serving(directory, locked=options.locked, active=0) as service:
            config = configured(directory, service, enabled=False)
            start(config, locked=0)  # makes the database, and warms the disk
            result["start, no lifecycle"] = start(config, locked=0)
            state = str(directory / "state")
            config = configured(directory, service, state_path=state)
            result["start, nothing known"] = start(config, locked=options.locked)
            result["start, known by a file"] = start(config, locked=options.locked)
            config = replace(config, module_options={"lifecycle": {"enabled": False}})
            result["start, no lifecycle again"] = start(config, locked=0)
    print(f"{options.locked} locked accounts:")
    for what, figures in result.items():
        shown = ", ".join(f"{key} {value:.1f}" for key, value in figures.items())
        print(f"  {what:<30} {shown}")
    keep("locked", result)


if __name__ == "__main__":
    main()
