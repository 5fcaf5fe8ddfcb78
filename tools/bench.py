"""Run the measurements: every `bench/bench_*.py`, with the arguments given to `make bench`.

Each script prints a table and writes its figures to `.run/bench/<name>.json`.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the scripts one after another, for two at a time would measure each other."""
    (ROOT / ".run" / "bench").mkdir(parents=True, exist_ok=True)
    scripts = sorted((ROOT / "bench").glob("bench_*.py"))
    if not scripts:
        print("bench: there is nothing to measure in bench/", file=sys.stderr)
        return 1
    failed = [script.name for script in scripts if not _succeeds(script)]
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _succeeds(script: Path) -> bool:
    begun = time.monotonic()
    print(f"bench: {script.stem} ...", flush=True)
    code = subprocess.call([sys.executable, "-m", f"bench.{script.stem}", *sys.argv[1:]], cwd=ROOT)
    print(f"bench: {script.stem}: {time.monotonic() - begun:.0f} s\n", flush=True)
    return code == 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
