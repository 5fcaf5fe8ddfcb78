"""The Makefile and `.ci/run`: what a person types, and what CI runs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.locks import ROOT

BASH = shutil.which("bash") or "bash"
MAKE = shutil.which("make") or "make"

MAKE_STUB = """
echo "make $*; require=$LALEPASS_REQUIRE"
case "$1" in
check) exit {check};;
test) echo "====== {closing} in 0.1s ======"; echo "afterwards"; exit {test};;
esac
"""


def test_help_is_the_default_and_lists_every_verb() -> None:
    done = subprocess.run([MAKE], cwd=ROOT, capture_output=True, text=True, check=True)
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^  ([a-z-]+) +\S", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())
    assert {"run", "test", "check", "bench", "help"} <= set(listed)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_python_that_is_not_there_is_told() -> None:
    done = subprocess.run(
        [MAKE, "setup", "PYTHON=python-that-is-not-there"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "there is no python-that-is-not-there here" in done.stderr


class Machine:
    """A folder with `.ci/run` in it and stubs for what it calls, so that nothing is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
        for name in ("git", "python"):
            self.has(name, "exit 0")
        self.has("sudo", 'exec "$@"')
        self.has("apt-get", f'echo "$*" >> {folder / "installed"}')
        self.makes()

    def has(self, program: str, script: str) -> None:
        path = self.folder / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def makes(self, *, check: int = 0, test: int = 0, closing: str = "5 passed") -> None:
        self.has("make", MAKE_STUB.format(check=check, test=test, closing=closing))

    def run(self, *, python: str = "python") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BASH, ".ci/run"],
            cwd=self.folder,
            env={"PATH": f"{self.folder}:/usr/bin:/bin", "PYTHON": python},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_ci_runs_the_commands_of_the_readme_and_demands_every_test(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^make .*$", done.stdout, re.MULTILINE) == [
        "make check; require=all",
        "make test; require=all",
        "make run ARGS=--once; require=all",
        "make test-docker; require=all",
    ]
    assert done.stdout.splitlines()[-1] == "====== 5 passed in 0.1s ======"


def test_ci_runs_all_although_one_fails(machine: Machine) -> None:
    machine.makes(check=2)
    done = machine.run()
    assert done.returncode == 1
    assert "make run ARGS=--once; require=all" in done.stdout
    assert re.search(r"^ci: make check +FAILED", done.stdout, re.MULTILINE)
    assert re.search(r"^ci: make test +ok", done.stdout, re.MULTILINE)


def test_ci_counts_failed_tests_in_its_last_line(machine: Machine) -> None:
    machine.makes(test=1, closing="1 failed, 4 passed")
    done = machine.run()
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "====== 1 failed, 4 passed in 0.1s ======"


def test_ci_installs_what_is_missing(machine: Machine) -> None:
    machine.run(python="python-that-is-not-there")
    update, install = (machine.folder / "installed").read_text().splitlines()
    assert update.startswith("update")
    assert "python3 python3-venv" in install
