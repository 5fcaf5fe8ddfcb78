"""tests/conftest.py: nothing is left out unseen, and in CI nothing is left out at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.locks import ROOT

TESTS = """
import pytest

def test_that_runs():
    pass

def test_that_skips():
    pytest.skip("no docker here")

@pytest.mark.skipif(True, reason="no browser here")
def test_that_is_skipped():
    pass

@pytest.mark.xfail(reason="known")
def test_that_fails_as_expected():
    assert False
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tests" / "part").mkdir(parents=True)
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run_pytest(project: Path, tests: str, *, require: str = "") -> tuple[int, str]:
    (project / "tests" / "part" / "test_it.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=project,
        env=os.environ | {"LALEPASS_REQUIRE": require},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_demand_that_nobody_knows_is_refused(project: Path) -> None:
    code, output = run_pytest(project, TESTS, require="al")
    assert code == 4
    assert output.strip() == "ERROR: LALEPASS_REQUIRE should be all, or not set: it is 'al'"


def test_what_was_left_out_stands_at_the_end(project: Path) -> None:
    code, output = run_pytest(project, TESTS)
    assert code == 0
    end = output[output.index(" left out =") :].splitlines()
    assert sorted(end[1:-1]) == ["1 x no browser here", "1 x no docker here"]
    assert "1 passed, 2 skipped, 1 xfailed" in end[-1]
    assert "tests/part" in output


def test_in_ci_a_skip_is_a_failure(project: Path) -> None:
    code, output = run_pytest(project, TESTS, require="all")
    assert code == 1
    assert "LALEPASS_REQUIRE=all forbids that: no docker here" in output
    assert "LALEPASS_REQUIRE=all forbids that: no browser here" in output
    closing = output.splitlines()[-1]
    assert "1 passed" in closing
    assert "1 xfailed" in closing
    assert "skipped" not in closing


def test_in_ci_a_file_that_is_skipped_is_a_failure(project: Path) -> None:
    whole_file = 'import pytest\npytest.importorskip("a_module_that_is_not_there")\n'
    assert run_pytest(project, whole_file)[0] == 5
    assert run_pytest(project, whole_file, require="all")[0] not in {0, 5}


def test_an_expected_failure_that_does_not_fail_is_a_failure(project: Path) -> None:
    passes = TESTS.replace("assert False", "pass")
    code, output = run_pytest(project, passes)
    assert code == 1
    assert "XPASS(strict)" in output
