from pathlib import Path

import pytest

from lalepass_service.cli.console import ExitCode
from lalepass_service.config import Config, load
from tests.lalepass_service.cli.operator import Operator


def _everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_makes_a_configuration_and_a_database(operator: Operator, tmp_path: Path) -> None:
    there = tmp_path / "new"
    said = operator.bare("init", "--directory", str(there)).done()

    assert _everything_in(there) == ["lalepass.db", "lalepass.toml"]
    assert [path.stat().st_mode & 0o777 for path in there.iterdir()] == [0o600, 0o600]
    assert load(there / "lalepass.toml") == Config().beside(there)
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    assert commands == [
        f"lalepass --config {there}/lalepass.toml user add alice",
        f"lalepass --config {there}/lalepass.toml token create my-homeserver --scope check",
        f"lalepass --config {there}/lalepass.toml serve",
    ]


def test_in_the_working_directory_commands_are_short(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")

    assert "  lalepass serve\n" in operator.bare("init").done()


def test_it_does_not_touch_what_is_there(operator: Operator) -> None:
    config = operator.directory / "lalepass.toml"
    config.write_text("# mine")
    said = operator.bare("init", "--directory", str(operator.directory))

    assert said.refused(ExitCode.REFUSED).startswith(f"{config} is there already: ")
    assert config.read_text() == "# mine"


def test_it_takes_over_a_database_that_is_there(operator: Operator) -> None:
    operator("user", "add", "alice", "--no-password").done()
    (operator.directory / "lalepass.toml").unlink()
    operator.bare("init", "--directory", str(operator.directory)).done()

    assert operator("user", "show", "alice").code == ExitCode.OK


def test_a_failure_leaves_nothing_behind(operator: Operator, tmp_path: Path) -> None:
    there = tmp_path / "new"
    there.mkdir()
    # Not to be seen by a look, and yet in the way of the last step.
    (there / "lalepass.toml").symlink_to(tmp_path / "nowhere" / "lalepass.toml")
    said = operator.bare("init", "--directory", str(there))

    assert said.refused(ExitCode.OUTSIDE) == f"{there}/lalepass.toml: File exists"
    assert _everything_in(there) == ["lalepass.toml"]


def test_a_database_of_another_program_is_left_alone(operator: Operator, tmp_path: Path) -> None:
    there = tmp_path / "new"
    there.mkdir()
    (there / "lalepass.db").write_text("no database " * 100)
    said = operator.bare("init", "--directory", str(there))

    assert "file is not a database" in said.refused(ExitCode.OUTSIDE)
    assert _everything_in(there) == ["lalepass.db"]


@pytest.mark.parametrize("where", ["missing/folder", "file"])
def test_where_there_is_no_place_it_says_so(operator: Operator, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("x")
    said = operator.bare("init", "--directory", str(tmp_path / where))

    said.refused(ExitCode.OUTSIDE)
    assert not (tmp_path / "missing").exists()
