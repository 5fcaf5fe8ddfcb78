"""What happens above the capacity: who is served, who is sent away, and how fast.

First the peak with as many clients as can be served; then five and twenty times as many requests a
second as that, from clients that do not wait for each other. The health of the service is asked all
the while.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from bench.load import Answer, Client, Running, keep, percentile, serving

_OK: Final = 200
_SHED: Final = 503
_LIVE: Final = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


async def peak(running: Running, seconds: float) -> float:
    """Return the checks a second with a few clients that wait for their answers."""
    end, served = time.perf_counter() + seconds, 0

    async def loop(number: int) -> None:
        nonlocal served
        client, account = Client(running.service.port), number
        while time.perf_counter() < end:
            answer = await client.ask(running.request(f"u{account % 5000}"))
            served += answer.status == _OK
            account += 8
        client.close()

    await asyncio.gather(*map(loop, range(8)))
    return served / seconds


async def flood(running: Running, *, per_second: float, seconds: float) -> dict[str, float]:
    """Send so many a second, whatever comes back."""
    idle: list[Client] = []
    answers: list[Answer] = []
    health: list[float] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        client = idle.pop() if idle else Client(running.service.port)
        answers.append(await client.ask(running.request(f"u{number % 5000}")))
        idle.append(client)

    async def watch() -> None:
        client = Client(running.service.port)
        while True:
            health.append((await client.ask(_LIVE)).seconds)
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    began = time.perf_counter()
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
        task = asyncio.create_task(one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    took = time.perf_counter() - began
    watching.cancel()
    for client in idle:
        client.close()
    served = [answer.seconds for answer in answers if answer.status == _OK]
    shed = [answer.seconds for answer in answers if answer.status == _SHED]
    return {
        "offered_per_second": per_second,
        "served_per_second": len(served) / took,
        "served_p99_s": percentile(served, 0.99),
        "shed_share": len(shed) / len(answers),
        "shed_p50_ms": 1000 * percentile(shed, 0.5) if shed else 0.0,
        "health_p99_ms": 1000 * percentile(health, 0.99),
        "resident_mib": running.resident_mib(),
    }


async def measure(running: Running, seconds: float) -> dict[str, dict[str, float]]:
    """Find the peak, then go above it."""
    await peak(running, 1.0)
    best = await peak(running, seconds)
    result = {"peak": {"served_per_second": best, "resident_mib": running.resident_mib()}}
    for times in (5, 20):
        figures = await flood(running, per_second=times * best, seconds=seconds)
        figures["of_peak"] = figures["served_per_second"] / best
        result[f"{times} times"] = figures
    return result


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    seconds = parser.parse_args().seconds
    limits = {
        "LALEPASS_THROTTLE__CALLER_PER_SECOND": "1000000",
        "LALEPASS_THROTTLE__CALLER_BURST": "1000000",
    }
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), 5000, LALEPASS_HASHING__THREADS="2", **limits) as running,
    ):
        result = uvloop.run(measure(running, seconds))
    for load, figures in result.items():
        print(load)
        for name, value in figures.items():
            print(f"  {name:<20}{value:>10.3f}")
    keep("overload", result)


if __name__ == "__main__":
    main()
