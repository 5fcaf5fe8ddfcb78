"""How much memory the service takes when many wait: it should not depend on how many."""

import asyncio
import tempfile
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figure, asked_to_be_quick, at_most, report
from bench.load import MEMORY, OPTIONS, SLOTS, Client, Running, closed_loop, only_good, serving

_ROOM_MIB: Final = 30.0
_MIB: Final = 1024 * 1024


async def highest(running: Running, clients: int) -> float:
    """Return the most memory that it had while so many waited at once, in MiB."""
    seen = [running.resident_mib()]

    async def watch() -> None:
        while True:
            seen.append(running.resident_mib())
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    people = [Client(running.service.port) for _ in range(clients)]
    answers = await asyncio.gather(
        *(client.ask(running.request(f"u{number}")) for number, client in enumerate(people))
    )
    watching.cancel()
    only_good(answers)
    for client in people:
        client.close()
    return max(seen)


async def measure(running: Running, numbers: list[int]) -> list[Figure]:
    """Let more and more wait."""
    only_good(await closed_loop(running, clients=1, seconds=1.0))
    base = running.resident_mib()
    bound = base + SLOTS * MEMORY / _MIB + _ROOM_MIB
    figures = [Figure("after a second of one client", base, "MiB")]
    for clients in numbers:
        most = await highest(running, clients)
        figures.append(at_most(f"while {clients} wait, the most", most, round(bound, 1), "MiB"))
    return figures


def main() -> None:
    """Measure and report."""
    numbers = [64, 256] if asked_to_be_quick(__doc__) else [64, 256, 1024]
    patient = {
        "LALEPASS_HASHING__MAX_WAITING": "2048",
        "LALEPASS_HASHING__DEADLINE_SECONDS": "60",
        "LALEPASS_SERVER__REQUEST_TIMEOUT": "120",
        "LALEPASS_SERVER__MAX_CONNECTIONS": "2048",
    }
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), 2000, {**OPTIONS, **patient}) as (running,),
    ):
        figures = uvloop.run(measure(running, numbers))
    report("memory", f"Resident memory, {SLOTS} slots of {MEMORY // _MIB} MiB:", figures)


if __name__ == "__main__":
    main()
