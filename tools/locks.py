"""The locks in `requirements/`: make them, and check that they say what `pyproject.toml` says.

    python -m tools.locks [--upgrade]
    python -m tools.locks --check

`dev` holds everything and is made first. Its parts take their versions from it, so what is tested
is what is installed. The environments with older releases of Synapse stand on their own.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parent.parent
NOT_CHECKED: Final = 77
"""Exit code of a check that could not be made, as in automake."""

_HEADER: Final = """\
# Made from pyproject.toml by `make lock`, which keeps the versions that are here as far as it can.
# `make lock ARGS=--upgrade` takes the newest that pyproject.toml allows. Not to be edited by hand.
"""
_ADDRESS: Final = re.compile(
    r"://|\bfile:|\s@\s|--(?:extra-)?index-url|--find-links|--trusted-host"
)
_PIN: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
_TIMEOUT: Final = 120.0


@dataclass(frozen=True)
class Lock:
    """One file of pinned packages."""

    name: str
    source: tuple[str, ...]
    """Arguments for `uv pip compile`: which parts of pyproject.toml it is made from."""

    @property
    def file(self) -> str:
        """Its path below the root."""
        return f"requirements/{self.name}.txt"


DEV: Final = Lock("dev", ("--group", "pyproject.toml:dev", "--all-extras", "pyproject.toml"))
PARTS: Final = (
    Lock("bootstrap", ("--group", "pyproject.toml:bootstrap")),
    Lock("building", ("--group", "pyproject.toml:building")),
    Lock("provider", ("--extra", "provider", "pyproject.toml")),
    Lock("service", ("--extra", "service", "pyproject.toml")),
    Lock("storage", ("--group", "pyproject.toml:storage")),
)
OLDER_SYNAPSES: Final = tuple(
    Lock(name, ("--group", f"pyproject.toml:{name}", "--extra", "provider", "pyproject.toml"))
    for name in ("synapse-oldest", "synapse-between")
)
LOCKS: Final = (DEV, *PARTS, *OLDER_SYNAPSES)


class CompileFailed(Exception):
    """uv made no lock; `unsolvable` if there can't be one."""

    def __init__(self, output: str) -> None:
        super().__init__(output.strip())
        self.unsolvable = "No solution found" in output


def compile_locks(root: Path, *, upgrade: bool = False) -> None:
    """Make all locks of the project in `root`, starting from those that are there.

    Raises:
        CompileFailed: uv could not.
    """
    for lock in LOCKS:
        _compile(root, lock, upgrade=upgrade and lock not in PARTS)


def _compile(root: Path, lock: Lock, *, upgrade: bool) -> None:
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"),
        *("--python-version", "3.11", "--generate-hashes", "--no-header"),
        *("--no-emit-index-url", "--no-emit-find-links"),
        *lock.source,
        *(("-c", DEV.file) if lock in PARTS else ()),
        *(("--upgrade",) if upgrade else ()),
        *("-o", lock.file),
    ]
    # The paths are relative, because uv writes down where a package is asked for.
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False, timeout=_TIMEOUT
    )
    if done.returncode != 0:
        raise CompileFailed(done.stderr)
    path = root / lock.file
    path.write_text(_HEADER + path.read_text())


def pins(lock_text: str) -> dict[str, str]:
    """Return the version of each package in a lock, by its canonical name."""
    found = (_PIN.match(line) for line in lock_text.splitlines())
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def addresses(name: str, lock_text: str) -> Iterator[str]:
    """Yield a complaint for each line that names an index, a mirror or a file.

    Such an address would hold for one machine only, or send others to a place they did not choose.
    """
    for number, line in enumerate(lock_text.splitlines(), start=1):
        if _ADDRESS.search(line):
            yield f"{name}.txt, line {number} holds an address: {line.strip()}"


def wanted(pyproject: Mapping[str, object]) -> dict[str, list[Requirement]]:
    """Return what pyproject.toml asks for, by the name of the lock that has to hold it."""
    project = _table(pyproject["project"])
    groups = _table(pyproject["dependency-groups"])
    common = _strings(project["dependencies"])
    extras = _table(project["optional-dependencies"])
    bootstrap = _strings(groups["bootstrap"])
    building = _strings(groups["building"])
    storage = _strings(groups["storage"])
    parts = {name: [*common, *_strings(extra)] for name, extra in extras.items()}
    dev = [
        *_strings(groups["dev"]),
        *bootstrap,
        *building,
        *storage,
        *(text for part in parts.values() for text in part),
    ]
    older = {
        lock.name: [*building, *parts["provider"], *_strings(groups[lock.name])]
        for lock in OLDER_SYNAPSES
    }
    groups_alone = {"bootstrap": bootstrap, "building": building, "storage": storage}
    texts = {**groups_alone, **parts, "dev": dev, **older}
    return {name: [Requirement(text) for text in text_list] for name, text_list in texts.items()}


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("pyproject.toml is not of the expected shape")
    return value


def _strings(value: object) -> list[str]:
    # A dependency group also has tables, which include other groups.
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def unmet(
    name: str, requirements: Iterable[Requirement], pinned: Mapping[str, str]
) -> Iterator[str]:
    """Yield a complaint for each requirement that a lock does not meet."""
    for requirement in requirements:
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"{name}.txt lacks {requirement}"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{name}.txt has {requirement.name} {version}, not {requirement.specifier}"


def disagreements(part: str, pinned: Mapping[str, str], dev: Mapping[str, str]) -> Iterator[str]:
    """Yield a complaint for each package of a part that dev does not have in the same version."""
    for package, version in pinned.items():
        if dev.get(package) != version:
            yield f"{part}.txt has {package} {version}, dev.txt {dev.get(package, 'none')}"


def faults(root: Path) -> list[str]:
    """Return what is wrong with the locks, as far as can be seen without a network."""
    texts = {lock.name: (root / lock.file).read_text() for lock in LOCKS}
    pinned = {name: pins(text) for name, text in texts.items()}
    requirements = wanted(tomllib.loads((root / "pyproject.toml").read_text()))
    return [
        *(fault for name, text in texts.items() for fault in addresses(name, text)),
        *(fault for name in texts for fault in unmet(name, requirements[name], pinned[name])),
        *(
            fault
            for part in PARTS
            for fault in disagreements(part.name, pinned[part.name], pinned["dev"])
        ),
    ]


def drift(root: Path, *, compile_in: Callable[[Path], None] = compile_locks) -> list[str]:
    """Compile anew beside the project, and return how the result differs from what is committed.

    Versions and conditions count. Hashes do not: a release gets more of them when its authors add
    a file for another system.

    Raises:
        CompileFailed: uv could not.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copy(root / "pyproject.toml", copy)
        shutil.copytree(root / "requirements", copy / "requirements")
        compile_in(copy)
        return [line for lock in LOCKS for line in _difference(lock, root, copy)]


def _difference(lock: Lock, committed: Path, fresh: Path) -> Iterator[str]:
    old, new = (_conditions((folder / lock.file).read_text()) for folder in (committed, fresh))
    for line in sorted(old - new):
        yield f"{lock.file} has a line that pyproject.toml does not ask for: {line}"
    for line in sorted(new - old):
        yield f"{lock.file} lacks: {line}"


def _conditions(lock_text: str) -> set[str]:
    return {line.rstrip(" \\") for line in lock_text.splitlines() if _PIN.match(line)}


def check(root: Path, *, compile_in: Callable[[Path], None] = compile_locks) -> int:
    """Print what is wrong with the locks and return the exit code."""
    found = faults(root)
    not_checked = ""
    try:
        found += drift(root, compile_in=compile_in)
    except CompileFailed as failed:
        if failed.unsolvable:
            found.append(str(failed))
        else:
            not_checked = "the package index can't be reached: checked without compiling anew"
    except subprocess.TimeoutExpired:
        not_checked = "the package index is too slow: checked without compiling anew"
    for line in found:
        print(line)
    if found:
        print("`make lock` renews the locks.")
        return 1
    print(not_checked or f"{len(LOCKS)} locks agree with pyproject.toml and hold no address")
    return NOT_CHECKED if not_checked else 0


def main() -> int:
    """Make or check the locks and return the exit code."""
    parser = argparse.ArgumentParser(prog="make lock")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions allowed")
    parser.add_argument(
        "--check", action="store_true", help="change nothing, and say what is wrong"
    )
    arguments = parser.parse_args()
    if arguments.check:
        return check(ROOT)
    try:
        compile_locks(ROOT, upgrade=arguments.upgrade)
    except (CompileFailed, subprocess.TimeoutExpired) as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
