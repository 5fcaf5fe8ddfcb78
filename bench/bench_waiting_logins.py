"""Does a homeserver feel it when logins wait for their service?

    make bench                     or: python -m bench.bench_waiting_logins [--rounds N]

A real Synapse, a service that takes a second, 64 logins that wait for it: how long does an
unrelated request take meanwhile, and how long with nobody waiting? Both are measured in turns
within one run, on the same process, so that a noisy machine is noisy to both.
"""

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from bench.load import keep
from tools import web
from tools.processes import LOOPBACK, free_port
from tools.synapse import SynapseConfig

LOGINS: Final = 64
SECONDS: Final = 1.0
REQUESTS: Final = 200
_REFUSAL: Final = b'{"result":"refused"}'
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)


class SlowService:
    """Answers all checks that wait one second after the last of them has come."""

    def __init__(self) -> None:
        self.port = 0
        self.waiting = 0
        self._loop = asyncio.new_event_loop()
        self._all_here = threading.Event()
        self._release: asyncio.Event | None = None

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Listen on a thread of its own."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(server.close)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)

    def wait_until_all_wait(self) -> None:
        """Return when 64 checks have arrived, or raise after a minute."""
        if not self._all_here.wait(60):
            raise TimeoutError(f"only {self.waiting} of {LOGINS} checks arrived")
        self._all_here.clear()

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                await reader.readexactly(length)
                await self._hold()
                writer.write(_ANSWER % (len(_REFUSAL), _REFUSAL))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    async def _hold(self) -> None:
        release = self._release = self._release or asyncio.Event()
        self.waiting += 1
        if self.waiting == LOGINS:
            self._all_here.set()
            self._loop.call_later(SECONDS, self._let_go)
        await release.wait()

    def _let_go(self) -> None:
        if self._release is not None:
            self._release.set()
        self._release = None
        self.waiting = 0


def times_of_versions(port: int, *, at_most: float) -> list[float]:
    """Ask for something unrelated, one request after the other; return milliseconds."""
    connection = HTTPConnection(LOOPBACK, port, timeout=30)
    times: list[float] = []
    end = time.perf_counter() + at_most
    while len(times) < REQUESTS and time.perf_counter() < end:
        begun = time.perf_counter()
        connection.request("GET", "/_matrix/client/versions")
        connection.getresponse().read()
        times.append((time.perf_counter() - begun) * 1000)
    connection.close()
    return times


def measure(url: str, port: int, service: SlowService, rounds: int) -> dict[str, list[float]]:
    """Take turns: nobody waits, 64 wait."""
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "somebody"},
        "password": "some password",
    }
    address = f"{url}/_matrix/client/v3/login"
    times: dict[str, list[float]] = {"idle": [], "waiting": []}
    with ThreadPoolExecutor(LOGINS) as people:
        for _ in range(rounds):
            times["idle"] += times_of_versions(port, at_most=SECONDS * 0.8)
            logins = [
                people.submit(web.request, "POST", address, content=login, timeout=60)
                for _ in range(LOGINS)
            ]
            service.wait_until_all_wait()
            times["waiting"] += times_of_versions(port, at_most=SECONDS * 0.8)
            answers = [answer.result(60).status for answer in logins]
            if set(answers) != {403}:
                raise RuntimeError(f"the logins were answered with {sorted(set(answers))}")
    return times


def figures(times: list[float]) -> dict[str, float]:
    """Return how many, the median and the 99th percentile, in milliseconds."""
    return {
        "requests": len(times),
        "p50_ms": round(statistics.median(times), 2),
        "p99_ms": round(statistics.quantiles(times, n=100)[98], 2),
    }


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    service = SlowService()
    with service.serving(), tempfile.TemporaryDirectory() as directory:
        token = Path(directory) / "token"
        token.write_text("lalepass_0123456789ab_" + "x" * 43)
        config = SynapseConfig(
            directory=Path(directory) / "synapse",
            port=free_port(),
            service_url=f"http://{LOOPBACK}:{service.port}",
            token_path=token,
            module_options={"timeout": 30},
        )
        config.write()
        with config.process() as synapse:
            synapse.wait_until_healthy(timeout=120)
            times_of_versions(config.port, at_most=2)  # warm up
            times = measure(config.address, config.port, service, rounds)
    report({state: figures(measured) for state, measured in times.items()})


def report(result: dict[str, dict[str, float]]) -> None:
    """Print the table and keep the figures."""
    idle, waiting = result["idle"], result["waiting"]
    print(f"GET /_matrix/client/versions on a Synapse where {LOGINS} logins wait, or none:")
    print(f"{'':<10}{'requests':>10}{'p50 ms':>10}{'p99 ms':>10}")
    for state, row in result.items():
        print(f"{state:<10}{row['requests']:>10}{row['p50_ms']:>10.2f}{row['p99_ms']:>10.2f}")
    p50, p99 = (waiting[key] / idle[key] for key in ("p50_ms", "p99_ms"))
    print(f"{'ratio':<20}{p50:>10.2f}{p99:>10.2f}")
    keep("waiting_logins", {**result, "ratio": {"p50": p50, "p99": p99}})


if __name__ == "__main__":
    main()
