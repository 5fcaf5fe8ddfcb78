"""Run the measurements in `bench/`: all of them, or those that are named.

    make bench                           everything
    make bench ARGS=--quick              a look at everything, in a tenth of the time
    make bench ARGS="overload checks"    some of it

Each prints a table and writes its figures to `.run/bench/<name>.json`. The end says which targets
were missed. A missed target is not a failure: it may be the machine.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_QUICK: Final = {
    "feed": ["--locked", "50000", "--active", "50000", "--waiting", "20"],
    "lifecycle": ["--turns", "10"],
    "locked": ["--locked", "50000"],
    "synapse_logins": ["--rounds", "1"],
    "waiting_logins": ["--rounds", "1"],
}
"""What these take for a look; all others know `--quick`."""

ROOT: Final = Path(__file__).resolve().parent.parent
FIGURES: Final = ROOT / ".run" / "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scripts one after another, for two at a time would measure each other."""
    scripts = {path.stem.removeprefix("bench_"): path for path in (ROOT / "bench").glob("bench_*")}
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(sorted(scripts)))
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - scripts.keys()):
        parser.error(f"there is no {unknown[0]}; there are {', '.join(sorted(scripts))}")
    names = options.names or sorted(scripts)
    failed = [name for name in names if not _succeeds(scripts, name, quick=options.quick)]
    for line in missed([name for name in names if name not in failed]):
        print(f"bench: missed: {line}")
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def missed(names: Sequence[str]) -> list[str]:
    """Return a line for each figure that is not what it should be."""
    lines = []
    for name in names:
        kept = json.loads((FIGURES / f"{name}.json").read_text())
        # Some keep a tree of their own, and print by themselves what it should be.
        for figure in kept if isinstance(kept, list) else []:
            if figure["reached"] is False:
                value = f"{figure['value']:.3f} {figure['unit']}".strip()
                lines.append(f"{name}: {figure['name']}: {value} ({figure['target']})")
    return lines


def _succeeds(scripts: Mapping[str, Path], name: str, *, quick: bool) -> bool:
    script, less = scripts[name], _QUICK.get(name, ["--quick"])
    begun = time.monotonic()
    print(f"bench: {script.stem} ...", flush=True)
    command = [sys.executable, "-m", f"bench.{script.stem}", *(less if quick else [])]
    code = subprocess.call(command, cwd=ROOT)
    print(f"bench: {script.stem}: {time.monotonic() - begun:.0f} s\n", flush=True)
    return code == 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
