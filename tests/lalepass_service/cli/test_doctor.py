"""`lalepass doctor` starts the check in Synapse's Python; what that finds is tested with it."""

import os
import sys
from pathlib import Path

import pytest

from lalepass_service.cli import doctor
from tests.lalepass_service.cli.operator import Operator

# As `lalepass doctor --help` says.
NOT_LOOKED = 3

SCRIPT = """#!/bin/sh
echo "$COLUMNS columns: $*"
echo "no news" >&2
exit {code}
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Something that is run as a Python, and repeats what it was told."""
    return script(tmp_path, code=2)


def script(folder: Path, *, code: int) -> Path:
    path = folder / "python"
    path.write_text(SCRIPT.format(code=code))
    path.chmod(0o755)
    return path


def test_everything_is_passed_on_and_so_is_the_outcome(operator: Operator, python: Path) -> None:
    said = operator.bare(
        *("doctor", "--homeserver", "a.yaml", "--homeserver", "-b.yaml", "--python", str(python)),
        *("--user", "synapse", "--json", "--strict", "--offline"),
    )

    assert said.code == 2
    assert said.out == (
        "80 columns: -P -m lalepass_provider.check --json --strict --offline --user=synapse"
        " -- a.yaml -b.yaml\n"
    )
    assert said.err == "no news\n"


@pytest.mark.parametrize("code", [0, 1, 3])
def test_every_code_is_the_one_of_the_check(operator: Operator, tmp_path: Path, code: int) -> None:
    python = script(tmp_path, code=code)

    assert operator.bare("doctor", "--homeserver", "a", "--python", str(python)).code == code


def test_with_both_in_one_place_nothing_has_to_be_named(operator: Operator, tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text("server_name: hs.example\n")
    said = operator.bare("doctor", "--homeserver", str(path), "--offline")

    assert said.code == 2
    assert "Lalepass is not among the modules" in said.out


def test_what_lies_in_the_folder_is_not_run(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lalepass_provider"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('planted')")
    (tmp_path / "homeserver.yaml").write_text("server_name: hs.example\n")
    monkeypatch.chdir(tmp_path)

    said = operator.bare(
        *("doctor", "--homeserver", "homeserver.yaml", "--offline", "--python", sys.executable)
    )

    assert "planted" not in said.err
    assert said.code == 2


def test_without_a_synapse_it_says_so(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    monkeypatch.setattr(doctor, "_PACKAGED", Path("/nowhere/python"))

    said = operator.bare("doctor", "--homeserver", "homeserver.yaml")
    assert said.refused(NOT_LOOKED).startswith("there is no Synapse with Lalepass's module")


def test_the_python_of_the_packages_is_found(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, python: Path
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    monkeypatch.setattr(doctor, "_PACKAGED", python)

    assert operator.bare("doctor", "--homeserver", "homeserver.yaml").code == 2


def test_a_python_that_is_none_is_told(operator: Operator, tmp_path: Path) -> None:
    said = operator.bare("doctor", "--homeserver", "a", "--python", str(tmp_path / "none"))

    assert said.refused(NOT_LOOKED) == f"{tmp_path}/none: No such file or directory"


def test_a_python_without_the_module_is_told(operator: Operator, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)

    said = operator.bare("doctor", "--homeserver", "a", "--python", str(python))
    assert "install the extra [provider] where Synapse is" in said.refused(NOT_LOOKED)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("synapse", "has no Synapse: name the Python that Synapse runs in with --python"),
        ("yaml", "has no Synapse: name the Python that Synapse runs in with --python"),
        ("twisted", "has no twisted: install the extra [provider] where Synapse is"),
    ],
)
def test_what_else_is_missing_there_is_told(
    operator: Operator, tmp_path: Path, module: str, says: str
) -> None:
    python = tmp_path / "python"
    error = f"ModuleNotFoundError: No module named '{module}'"
    python.write_text(f'#!/bin/sh\necho "{error}" >&2\nexit 1\n')
    python.chmod(0o755)

    said = operator.bare("doctor", "--homeserver", "a", "--python", str(python))
    assert said.refused(NOT_LOOKED) == f"{python} {says}"


@pytest.mark.parametrize(
    "arguments", [["--homeserver"], ["--hoemserver", "a"], ["--homeserver", "a", "x"]], ids=str
)
def test_a_wrong_command_line_is_no_error_of_the_homeserver(
    operator: Operator, arguments: list[str]
) -> None:
    operator.bare("doctor", *arguments).refused(NOT_LOOKED)


def test_one_that_does_not_end_is_left(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_SECONDS", 0.2)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)

    said = operator.bare("doctor", "--homeserver", "a", "--python", str(python))
    assert "did not end within" in said.refused(NOT_LOOKED)


def test_a_homeserver_has_to_be_named(operator: Operator) -> None:
    assert "--homeserver" in operator.bare("doctor").refused(NOT_LOOKED)


def test_the_environment_is_handed_on(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LALEPASS_CANARY", "sings")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$LALEPASS_CANARY"\n')
    python.chmod(0o755)

    assert operator.bare("doctor", "--homeserver", "a", "--python", str(python)).out == "sings\n"
    assert "COLUMNS" in os.environ
