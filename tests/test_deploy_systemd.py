"""deploy/lalepass.service starts what there is, where the README puts it."""

import shlex
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from lalepass_service.cli import main

ROOT = Path(__file__).parent.parent
FILE = "deploy/lalepass.service"
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    """The options of its section [Service]."""
    unit = ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds capitals
    unit.read_string((ROOT / FILE).read_text(encoding="utf-8"))
    return dict(unit["Service"])


def test_what_it_starts_is_a_command_with_these_options(service: dict[str, str]) -> None:
    program, name, *words = shlex.split(service["ExecStart"])
    commands: Any = get_command(main.app)
    options = {option for each in commands.commands[name].params for option in each.opts}

    assert Path(program).name == "lalepass"
    assert [word for word in words if word.startswith("--") and word not in options] == []


def test_it_is_where_the_readme_installs_it(service: dict[str, str]) -> None:
    program = Path(service["ExecStart"].split()[0])

    assert f"python3 -m venv {program.parent.parent}\n" in README
    assert f"-o {service['User']} {service['WorkingDirectory']}\n" in README
    assert f"install -m 644 {FILE} /etc/systemd/system/\n" in README


def test_it_may_write_where_the_accounts_are_and_nowhere_else(service: dict[str, str]) -> None:
    assert service["ProtectSystem"] == "strict"
    assert service["ReadWritePaths"] == service["WorkingDirectory"]
