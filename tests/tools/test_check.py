"""tools.check and tools.openapi: all steps run, and the table tells how they ended."""

import sys
from pathlib import Path

import pytest

from tools import check, openapi
from tools.check import Step
from tools.locks import NOT_CHECKED


def step(name: str, code: int, line: str) -> Step:
    return Step(name, (sys.executable, "-c", f"print('more'); print({line!r}); exit({code})"))


def run(*steps: Step, arguments: tuple[str, ...] = ()) -> int:
    return check.main(arguments, steps=steps)


def test_a_failed_step_does_not_keep_the_others_from_running(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = step("first", 1, "broken"), step("second", 0, "all is well")
    assert run(*steps) == 1
    table = capsys.readouterr().out.splitlines()[-2:]
    assert table[0].split()[:2] == ["first", "FAILED"]
    assert table[1].split()[:2] == ["second", "ok"]
    assert table[1].endswith("all is well")


def test_what_could_not_be_checked_is_said_and_is_no_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(step("audit", NOT_CHECKED, "no network")) == 0
    assert "not checked" in capsys.readouterr().out.splitlines()[-1]


def test_one_step_can_be_chosen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = step("first", 1, "broken"), step("second", 0, "all is well")
    assert run(*steps, arguments=("second",)) == 0
    assert "first" not in capsys.readouterr().out


def test_a_step_that_does_not_exist_is_told() -> None:
    with pytest.raises(SystemExit):
        run(arguments=("thirst",))


def test_a_change_of_the_contract_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    committed = tmp_path / "openapi.json"
    committed.write_text('{\n  "paths": {}\n}\n')
    assert openapi.check('{\n  "paths": {}\n}\n', committed) == 0
    assert openapi.check('{\n  "paths": {"/v2": {}}\n}\n', committed) == 1
    assert '+  "paths": {"/v2": {}}' in capsys.readouterr().out


def test_a_missing_contract_is_a_change(tmp_path: Path) -> None:
    assert openapi.check("{}\n", tmp_path / "openapi.json") == 1
