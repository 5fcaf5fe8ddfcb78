"""The module on every release of Synapse that is promised: `make synapses`.

    python -m tools.synapses [--release NAME ...] [PYTEST ARGUMENTS]

Runs the end-to-end tests once for each release, and the module's own on the older ones, unless
tests are named. The newest is the one in `.venv`, on which `make test` runs those; an older one
gets an environment of its own in `.run/synapses`, made from its lock when it is first needed.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.locked import locked
from tools.locks import DEV, OLDER_SYNAPSES, ROOT, Lock, pins
from tools.progress import Progress

ENVIRONMENT: Final = "LALEPASS_SYNAPSE"
"""Names the interpreter whose Synapse the end-to-end tests start, in place of our own."""

_ALL: Final = ("tests/e2e", "--ignore=tests/e2e/test_releases.py")
_UNITS: Final = "tests/lalepass_provider"
_BESIDE: Final = (
    "import site, sys; site.addsitedir(sys.argv.pop(1)); import pytest; sys.exit(pytest.main())"
)
"""pytest, and what else an older environment has not, from ours; what both have, from its own."""
_PLACE: Final = ROOT / ".run" / "synapses"
_INSTALL_SECONDS: Final = 600.0
_TEST_SECONDS: Final = 3600.0


class NotInstalled(Exception):
    """There is no such Synapse here, and it can't be fetched: the message is what uv said."""


@dataclass(frozen=True)
class Release:
    """One release of Synapse, and where it is."""

    lock: Lock
    place: Path = _PLACE

    @property
    def name(self) -> str:
        """How it is called on the command line: newest, between, oldest."""
        return "newest" if self.lock is DEV else self.lock.name.removeprefix("synapse-")

    @property
    def version(self) -> str:
        """Which one it is, from its lock."""
        return pins((ROOT / self.lock.file).read_text())["matrix-synapse"]

    @property
    def python(self) -> str:
        """The interpreter that has it, once `install` has been called."""
        return sys.executable if self.lock is DEV else str(self._home / "bin" / "python")

    @property
    def _home(self) -> Path:
        return self.place / self.name

    @property
    def _stamp(self) -> Path:
        return self._home / "complete"

    def install(self) -> str:
        """Make the environment unless it is there, and return the interpreter.

        Raises:
            NotInstalled: it can't be made.
        """
        if self.lock is DEV:
            return self.python
        wanted = self._wanted()
        # Several runs of the tests may want it at once: one makes it.
        with locked(self.place / f"{self.name}.lock", waiting=nullcontext()):
            if not self._stamp.exists() or self._stamp.read_text() != wanted:
                self._make()
                self._stamp.write_text(wanted)
        return self.python

    def _wanted(self) -> str:
        digest = hashlib.sha256((ROOT / self.lock.file).read_bytes()).hexdigest()
        return f"{digest} {sys.version} {ROOT}"

    def _make(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        python = getattr(sys, "_base_executable", sys.executable)
        _uv("venv", "--quiet", "--python", python, str(self._home))
        into = ("--quiet", "--python", self.python)
        lock = ("--require-hashes", "--compile-bytecode", str(ROOT / self.lock.file))
        _uv("pip", "sync", *into, *lock)
        # As an operator installs it, except that it follows the checkout.
        _uv("pip", "install", *into, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))


RELEASES: Final = tuple(Release(lock) for lock in (*OLDER_SYNAPSES, DEV))


def _uv(*arguments: str) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "uv", *arguments],
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"uv {arguments[0]} took longer than {_INSTALL_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise NotInstalled(done.stderr.strip() or f"uv {arguments[0]} failed")


def test(release: Release, arguments: Sequence[str]) -> str:
    """Run the end-to-end tests on one release, and return pytest's last line.

    Raises:
        NotInstalled: there is no such Synapse here.
    """
    python = release.install()
    command = (sys.executable, "-m", "pytest", "-q", *arguments)
    return _run([*command, *(() if _named(arguments) else _ALL)], synapse=python)


def test_units(release: Release, arguments: Sequence[str]) -> str:
    """Run the module's own tests inside of a release, and return pytest's last line.

    Raises:
        NotInstalled: there is no such Synapse here.
    """
    python = release.install()
    ours = sysconfig.get_path("purelib")
    return _run([python, "-c", _BESIDE, ours, "-q", *arguments, _UNITS], synapse=python)


def _run(command: Sequence[str], *, synapse: str) -> str:
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {ENVIRONMENT: synapse},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pytest:
        closing = "pytest said nothing"
        for line in pytest.stdout or ():
            print(line, end="", flush=True)
            closing = line.strip() or closing
        code = pytest.wait(timeout=_TEST_SECONDS)
    return closing if code == 0 else f"FAILED: {closing}"


def _named(arguments: Sequence[str]) -> bool:
    """Say whether somebody chose the tests, and not only how they run."""
    return any((ROOT / argument.partition("::")[0]).exists() for argument in arguments)


def main() -> int:
    """Run the tests on each release and return the exit code."""
    names = [release.name for release in RELEASES]
    parser = argparse.ArgumentParser(prog="make synapses")
    parser.add_argument("--release", choices=names, action="append", help="only this one")
    chosen, arguments = parser.parse_known_args()
    progress = Progress("synapses")
    report = []
    for release in RELEASES:
        if chosen.release and release.name not in chosen.release:
            continue
        progress.say(f"Synapse {release.version} ({release.name})")
        runs = [test] if release.lock is DEV or _named(arguments) else [test_units, test]
        for run in runs:
            begun = time.monotonic()
            try:
                verdict = run(release, arguments)
            except NotInstalled as error:
                verdict = f"FAILED: {error}"
            took = time.monotonic() - begun
            report.append(f"Synapse {release.version:<10} {took:5.0f} s  {verdict}")
    print()
    for line in report:
        progress.say(line)
    return int(any("FAILED" in line for line in report))


if __name__ == "__main__":
    sys.exit(main())
