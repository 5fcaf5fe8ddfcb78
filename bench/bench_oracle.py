"""Can a stranger tell by the time whether an account exists?

Wrong passwords at accounts that exist and at names that nobody has, each class in turn, over one
connection: the difference of the medians, and the chance to be right about a pair (AUC, 0.5 is
none).
"""

import argparse
import bisect
import random
import statistics
import tempfile
from pathlib import Path
from typing import Final

import uvloop

from bench.load import Client, Running, keep, serving

_OK: Final = 200


async def measure(running: Running, samples: int) -> dict[str, float]:
    """Ask about one of each, in an order that chance decides, until there are enough."""
    client = Client(running.service.port)
    order = random.Random(1)  # noqa: S311 - an order, and no secret
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    for number in range(samples + 20):
        pair = [("known", f"u{number}"), ("unknown", f"nobody{number}")]
        order.shuffle(pair)
        for kind, name in pair:
            answer = await client.ask(running.request(name, f"wrong {number}"))
            if answer.status != _OK:
                raise RuntimeError(f"answered with {answer.status}")
            times[kind].append(1000 * answer.seconds)
    client.close()
    return figures(known=times["known"][20:], unknown=times["unknown"][20:])


def figures(*, known: list[float], unknown: list[float]) -> dict[str, float]:
    """Return the medians, how far apart they are, and the area under the curve."""
    one, other = statistics.median(known), statistics.median(unknown)
    return {
        "samples": len(known),
        "known_ms": one,
        "unknown_ms": other,
        "difference_percent": 100 * abs(one - other) / other,
        "auc": auc(known, unknown),
    }


def auc(first: list[float], second: list[float]) -> float:
    """Return how often one of the first is greater than one of the second."""
    ordered = sorted(second)
    wins = sum(
        (bisect.bisect_left(ordered, value) + bisect.bisect_right(ordered, value)) / 2
        for value in first
    )
    return wins / (len(first) * len(second))


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    samples = parser.parse_args().samples
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory), samples + 20, LALEPASS_HASHING__THREADS="2") as running,
    ):
        result = uvloop.run(measure(running, samples))
    print("Wrong passwords at accounts that exist, and at names that nobody has, idle:")
    for name, value in result.items():
        print(f"  {name:<20}{value:>10.3f}")
    keep("oracle", result)


if __name__ == "__main__":
    main()
