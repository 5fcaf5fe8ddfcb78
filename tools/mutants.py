"""What the tests of `core/` would miss: `make mutants`, about half an hour on two busy cores.

    python -m tools.mutants [run [NAME ...] | results | show NAME]

mutmut changes one thing at a time in the rules and runs their tests; a mutant that no test notices
has survived. docs/mutants.md says which of them we know, and why they may.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

# mutmut names a module by its path, and leaves out a leading `src` only: so it gets a copy in which
# `service` is called that. It keeps what it has found in a folder beside these.
_COPIES: Final = {"service": "src", "tests": "tests"}
_UNSEEN: Final = shutil.ignore_patterns("__pycache__")


def lay_out(root: Path, folder: Path) -> None:
    """Copy what the tests of the rules need, over what is there from the time before."""
    folder.mkdir(parents=True, exist_ok=True)
    for source, target in _COPIES.items():
        shutil.rmtree(folder / target, ignore_errors=True)
        shutil.copytree(root / source, folder / target, ignore=_UNSEEN)
    shutil.copy2(root / "pyproject.toml", folder)


def main() -> int:
    """Do what the arguments say and return the exit code."""
    arguments = sys.argv[1:] or ["run"]
    folder = ROOT / ".run" / "mutants"
    if arguments[0] == "run":
        os.nice(10)
        lay_out(ROOT, folder)
    code = _mutmut(folder, arguments)
    if code == 0 and arguments[0] == "run":
        print("Those that have survived, if any:", flush=True)
        code = _mutmut(folder, ["results"])
    return code


def _mutmut(folder: Path, arguments: list[str]) -> int:
    return subprocess.call([sys.executable, "-m", "mutmut", *arguments], cwd=folder)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
