"""Everything that can be said about the code without running it: `make check`.

    python -m tools.check [STEP ...]

All steps run, also after one that failed, and a table at the end has the verdict of each.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tools.locks import NOT_CHECKED, ROOT
from tools.progress import Progress

_BIN: Final = Path(sys.executable).parent
_TIMEOUT: Final = 900.0


@dataclass(frozen=True)
class Step:
    """A program that exits with 0 if all is well, or with NOT_CHECKED if it can't tell."""

    name: str
    command: tuple[str, ...]


def _module(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


STEPS: Final = (
    Step("format", _module("ruff", "format", "--check", ".")),
    Step("lint", _module("ruff", "check", ".")),
    Step("types", _module("mypy")),
    Step("imports", (str(_BIN / "lint-imports"),)),
    Step("openapi", _module("tools.openapi", "--check")),
    Step("locks", _module("tools.locks", "--check")),
    Step("licences", _module("tools.licences")),
    Step("vulnerabilities", _module("tools.vulnerabilities")),
)


class Verdict(StrEnum):
    """What a step came to."""

    OK = "ok"
    FAILED = "FAILED"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Result:
    """What a step came to, how long it took, and its last line."""

    step: Step
    verdict: Verdict
    seconds: float
    note: str


def run(step: Step, progress: Progress) -> Result:
    """Run a step, and print its output if it failed."""
    begun = time.monotonic()
    try:
        with progress.step(step.name):
            done = subprocess.run(
                step.command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=_TIMEOUT,
            )
        verdict, output = _verdict(done.returncode), done.stdout.strip()
    except subprocess.TimeoutExpired:
        verdict, output = Verdict.FAILED, f"did not end within {_TIMEOUT:.0f} s"
    if verdict is Verdict.FAILED:
        print(f"{output}\n", flush=True)
    note = output.splitlines()[-1] if output else ""
    return Result(step, verdict, time.monotonic() - begun, note)


def _verdict(code: int) -> Verdict:
    return {0: Verdict.OK, NOT_CHECKED: Verdict.NOT_CHECKED}.get(code, Verdict.FAILED)


def table(results: Sequence[Result]) -> str:
    """Return one line for each result."""
    return "\n".join(
        f"{result.step.name:<16} {result.verdict:<12} {result.seconds:6.1f} s  {result.note}"
        for result in results
    )


def main(arguments: Sequence[str] | None = None, *, steps: Sequence[Step] = STEPS) -> int:
    """Run the steps and return the exit code."""
    names = [step.name for step in steps]
    parser = argparse.ArgumentParser(prog="make check")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"one of {', '.join(names)}")
    wanted: list[str] = parser.parse_args(arguments).steps
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        parser.error(f"there is no step {', '.join(unknown)}")
    progress = Progress("check")
    try:
        results = [run(step, progress) for step in steps if not wanted or step.name in wanted]
    except KeyboardInterrupt:
        return 130
    print(f"\n{table(results)}")
    return int(any(result.verdict is Verdict.FAILED for result in results))


if __name__ == "__main__":
    sys.exit(main())
