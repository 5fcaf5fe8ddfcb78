"""Do checks get slower with the number of accounts? A thousand against a million, in turns."""

import statistics
import tempfile
from pathlib import Path
from typing import Final

import uvloop

from bench.figures import Figure, asked_to_be_quick, at_least, report
from bench.load import OPTIONS, Cost, Running, closed_loop, only_good, serving

_FEW: Final = 1000


async def turn(running: Running, seconds: float) -> tuple[int, Cost]:
    """Check as fast as it answers."""
    with running.cost() as costs:
        answers = only_good(await closed_loop(running, clients=8, seconds=seconds))
    return len(answers), costs[0]


async def measure(few: Running, many: Running, *, rounds: int, accounts: int) -> list[Figure]:
    """Take turns, and compare medians."""
    wall, cpu, rates = [], [], []
    for running in (few, many):
        await turn(running, 1.0)
    for _ in range(rounds):
        checks_few, cost_few = await turn(few, 2.0)
        checks_many, cost_many = await turn(many, 2.0)
        rates.append((checks_few / cost_few.wall, checks_many / cost_many.wall))
        wall.append(rates[-1][1] / rates[-1][0])
        cpu.append((cost_few.service_cpu / checks_few) / (cost_many.service_cpu / checks_many))
    median = statistics.median
    return [
        Figure(f"{_FEW} accounts", median(rate for rate, _ in rates), "/s"),
        Figure(f"{accounts} accounts", median(rate for _, rate in rates), "/s"),
        at_least("checks for each second of processor time, ratio", median(cpu), 0.95),
        at_least("checks a second by the clock, ratio", median(wall), 0.95),
    ]


def main() -> None:
    """Measure and report."""
    quick = asked_to_be_quick(__doc__)
    accounts = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as directory:
        few, many = Path(directory) / "few", Path(directory) / "many"
        few.mkdir()
        many.mkdir()
        with (
            serving(few, _FEW, OPTIONS) as (one,),
            serving(many, accounts, OPTIONS) as (other,),
        ):
            figures = uvloop.run(measure(one, other, rounds=2 if quick else 9, accounts=accounts))
    report("accounts", "Eight clients, one of a thousand accounts each time:", figures)


if __name__ == "__main__":
    main()
