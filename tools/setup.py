"""Make `.venv` and fill it from the locks. Every verb of the Makefile runs this first.

    python3 -m tools.setup [--root DIRECTORY]

Standard library only, for there is nothing else yet. Once `.venv` is complete, a stamp in it says
from what it was made, and as long as that holds there is nothing to do.

Exit codes: 0 ready, 3 this Python is too old, 4 it lacks venv, 5 no network, 6 the disk is full,
7 anything else, 130 interrupted.
"""

import sys

# Before everything else, so that an old Python says this and not something about syntax: the rest
# of this file can be parsed by any Python 3.6.
if sys.version_info < (3, 11):  # noqa: UP036 - this is the one place that must not assume it
    sys.stderr.write(
        "setup: this is Python {}.{} and Lalepass needs 3.11 or newer: name one that is installed, "
        "for example `make PYTHON=python3.12 run`.\n".format(*sys.version_info[:2])
    )
    sys.exit(3)

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from tools.locked import locked
from tools.pip_faults import Code, CommandFailed, Fault, fault_of_system, report
from tools.processes import Process
from tools.progress import Progress

_ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Place:
    """The files that setting up reads and writes."""

    root: Path

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.venv / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """Says from what the environment was made; written last, removed first."""
        return self.venv / "lalepass-setup.json"

    @property
    def log(self) -> Path:
        """What pip and uv say."""
        return self.root / ".run" / "setup.log"

    @property
    def lock(self) -> Path:
        """Held by the one who sets up."""
        return self.root / ".run" / "setup.lock"

    def requirements(self, name: str) -> Path:
        """Return a lock of packages."""
        return self.root / "requirements" / f"{name}.txt"


def interpreter() -> str:
    """Say which Python this is. An environment made by any other one is made anew."""
    return f"{sys.implementation.name} {sys.version} in {sys.base_prefix}"


def wanted_stamp(place: Place) -> dict[str, str]:
    """Return what the stamp of a complete and current environment says."""
    digest = hashlib.sha256()
    for path in (
        place.root / "pyproject.toml",
        place.requirements("bootstrap"),
        place.requirements("dev"),
    ):
        digest.update(path.read_bytes() + b"\0")
    return {
        # Scripts in an environment name its path, so a folder that was moved needs a new one.
        "root": str(place.root),
        "interpreter": interpreter(),
        "content": digest.hexdigest(),
    }


def found_stamp(place: Place) -> dict[str, str] | None:
    """Return what the stamp says; None if there is none that can be read, or nothing to run."""
    if not os.access(place.python, os.X_OK):
        return None
    try:
        stamp: dict[str, str] = json.loads(place.stamp.read_text())
    except (OSError, ValueError):
        return None
    return stamp


def set_up(place: Place) -> None:
    """Make the environment complete and current, or do nothing if it is.

    Raises:
        Fault: it can't be done.
    """
    wanted = wanted_stamp(place)
    if found_stamp(place) == wanted:
        return
    _require_venv_module()
    progress = Progress("setup")
    # Of several `make` one sets up, and the others wait for it.
    with locked(place.lock, waiting=progress.step("waiting for another make that is setting up")):
        # Whoever held the lock may have done the work.
        if found_stamp(place) != wanted:
            _renew(place, wanted, progress)
            progress.say(f"ready after {progress.elapsed:.0f} s")


def _renew(place: Place, wanted: dict[str, str], progress: Progress) -> None:
    place.log.write_text("")
    found = found_stamp(place)
    reusable = found is not None and all(
        found.get(key) == wanted[key] for key in ("root", "interpreter")
    )
    # From here on it counts as half-made, whatever happens.
    place.stamp.unlink(missing_ok=True)
    if not reusable:
        _remove_old(place, progress, why="another Python or place" if found else "half-made")
        _make_venv(place, progress)
    _fill(place, progress)
    place.stamp.write_text(json.dumps(wanted))


def _remove_old(place: Place, progress: Progress, *, why: str) -> None:
    if not os.path.lexists(place.venv):
        return
    if not _looks_like_ours(place.venv):
        raise Fault(
            f"{place.venv} is there but is no virtual environment: move it out of the way first."
        )
    with progress.step(f"removing the old .venv ({why})"):
        shutil.rmtree(place.venv)


def _looks_like_ours(venv: Path) -> bool:
    # Never remove what somebody else may need. An empty folder is a venv that just began.
    if venv.is_symlink() or not venv.is_dir():
        return False
    return (venv / "pyvenv.cfg").exists() or not any(
        entry.name not in {"bin", "include", "lib", "lib64"} for entry in venv.iterdir()
    )


def _make_venv(place: Place, progress: Progress) -> None:
    # Not `sys.executable`: with an activated .venv that would be the one just removed.
    python = getattr(sys, "_base_executable", sys.executable)
    with progress.step("making .venv with Python {}.{}.{}".format(*sys.version_info[:3])):
        try:
            _run(place, [python, "-m", "venv", str(place.venv)])
        except CommandFailed as failed:
            raise failed.fault("making .venv", place.log) from failed


def _fill(place: Place, progress: Progress) -> None:
    dev = place.requirements("dev")
    count = len(re.findall(r"^[A-Za-z0-9]", dev.read_text(), re.MULTILINE))
    with progress.step("installing uv, which installs the rest"):
        uv = _install_uv(place)
    with progress.step(f"installing {count} packages"):
        _install(place, uv, dev)
    with progress.step("installing Lalepass itself, editable"):
        try:
            # Its build tools are in the lock, too, so nothing is fetched here.
            _pip(place, "--no-deps", "--no-build-isolation", "--editable", str(place.root))
        except CommandFailed as failed:
            raise failed.fault("installing Lalepass", place.log) from failed


def _install_uv(place: Place) -> bool:
    try:
        _pip(place, "--require-hashes", "-r", str(place.requirements("bootstrap")))
    except CommandFailed as failed:
        # There is not a uv for every system, and pip can do the work as well.
        if failed.cause is Code.OTHER:
            return False
        raise failed.fault("installing uv", place.log) from failed
    return True


def _install(place: Place, uv: bool, lock: Path) -> None:  # noqa: FBT001 - internal
    if uv:
        # Compiled once, and not by each process of each test: a Synapse starts in half the time.
        options = ["--require-hashes", "--compile-bytecode", "--python", str(place.python)]
        command = ["uv", "pip", "sync", *options]
        try:
            _run(place, [str(place.python), "-m", *command, str(lock)])
        except CommandFailed as failed:
            if failed.cause is Code.DISK_FULL:
                raise failed.fault("installing the packages", place.log) from failed
        else:
            return
    # pip may know a mirror, a proxy or a certificate that uv does not. It takes the lock as it is,
    # like uv: all that is needed is there, and not what is replaced (`override-dependencies`).
    try:
        _pip(place, "--no-deps", "--require-hashes", "-r", str(lock))
    except CommandFailed as failed:
        raise failed.fault("installing the packages", place.log) from failed


def _pip(place: Place, *arguments: str) -> None:
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    _run(place, [str(place.python), "-m", "pip", "install", *quiet, *arguments])


def _run(place: Place, command: Sequence[str]) -> None:
    before = place.log.stat().st_size
    with place.log.open("a") as log:
        log.write(f"$ {' '.join(command)}\n")
    with Process(
        name=command[0],
        command=command,
        log=place.log,
        directory=place.root,
        # An activated environment or a PYTHONPATH of the user's must not reach into ours.
        environment={"VIRTUAL_ENV": str(place.venv), "PYTHONPATH": "", "NO_COLOR": "1"},
    ) as process:
        code = process.wait()
    if code != 0:
        raise CommandFailed(place.log.read_bytes()[before:].decode("utf-8", "replace"))


def _require_venv_module() -> None:
    if all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        return
    raise Fault(
        "This Python can't make virtual environments: install its venv module (on Debian and "
        "Ubuntu: `apt install python3-venv`) and run make again.",
        code=Code.NO_VENV,
    )


def _terminate(number: int, _: object) -> NoReturn:
    # As an exception, so that what was started is ended on the way out.
    raise SystemExit(128 + number)


def main() -> int:
    """Set up and return the exit code."""
    parser = argparse.ArgumentParser(prog="setup", description="Make .venv and fill it.")
    parser.add_argument("--root", type=Path, default=_ROOT, help="the checkout to set up")
    place = Place(parser.parse_args().root.resolve())
    signal.signal(signal.SIGTERM, _terminate)
    try:
        try:
            set_up(place)
        except OSError as error:
            raise fault_of_system(error) from error
    except Fault as fault:
        return report(fault)
    except KeyboardInterrupt:
        return Code.INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
