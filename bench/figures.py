"""Figures with their targets: as a table for people, as JSON for machines."""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / ".run" / "bench"


@dataclass(frozen=True)
class Figure:
    """One figure. Without a target it is there to understand the others by."""

    name: str
    value: float
    unit: str = ""
    target: str = ""
    reached: bool | None = None

    def __str__(self) -> str:
        mark = {None: "", True: "reached", False: "MISSED"}[self.reached]
        return (
            f"  {self.name:<58}{self.value:>11.3f} {self.unit:<5}{self.target:>18}  {mark}".rstrip()
        )


def at_least(name: str, value: float, target: float, unit: str = "") -> Figure:
    """Return a figure that should not be smaller."""
    return Figure(name, value, unit, f">= {target:g}", value >= target)


def at_most(name: str, value: float, target: float, unit: str = "") -> Figure:
    """Return a figure that should not be greater."""
    return Figure(name, value, unit, f"<= {target:g}", value <= target)


def between(name: str, value: float, low: float, high: float, unit: str = "") -> Figure:
    """Return a figure that should be within bounds."""
    return Figure(name, value, unit, f"{low:g} to {high:g}", low <= value <= high)


def others() -> Figure:
    """Return how busy the machine is, which others may use, too: about as many want a core."""
    return Figure(f"load of the machine, with {os.cpu_count()} cores", os.getloadavg()[0])


def left_out(name: str, why: str) -> None:
    """Say why there are no figures."""
    report(name, f"left out: {why}", [])


def report(name: str, title: str, figures: Sequence[Figure]) -> None:
    """Print the table and keep the figures."""
    print(title)
    for figure in figures:
        print(figure, flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(
        json.dumps([asdict(figure) for figure in figures], indent=2) + "\n"
    )


def asked_to_be_quick(description: str) -> bool:
    """Read the arguments that all measurements have."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a look, not a measurement: a tenth of the time"
    )
    return bool(parser.parse_args().quick)
