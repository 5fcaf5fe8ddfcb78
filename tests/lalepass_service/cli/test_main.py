"""The command line as a program."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from lalepass_service.cli import console
from lalepass_service.cli.console import ExitCode
from lalepass_service.core import errors as core
from lalepass_service.faults import ConfigFault, OutsideFault
from tests.lalepass_service.cli.operator import Operator

_LALEPASS = [sys.executable, "-m", "lalepass_service"]
_TIMEOUT = 60


def test_it_says_what_it_is(operator: Operator) -> None:
    assert operator.bare("--version").done() == f"lalepass {metadata.version('lalepass')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hepl"],
        ["usr"],
        ["user", "ad"],
        ["user", "add"],
        ["user", "list", "--jsn"],
        ["serve", "x"],
    ],
    ids=" ".join,
)
def test_what_is_misspelt_is_wrong_usage(operator: Operator, arguments: list[str]) -> None:
    assert operator(*arguments).code == ExitCode.USAGE


@pytest.mark.parametrize(
    "group", [[], ["user"], ["token"], ["db"], ["config"], ["keys"], ["blocklist"]], ids=" ".join
)
def test_help_names_the_commands(operator: Operator, group: list[str]) -> None:
    said = operator.bare(*group, "--help").done()

    assert "Usage: lalepass" in said
    assert "Commands" in said


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (core.UserNotFound("alice"), ExitCode.REFUSED, "there is no user alice"),
        (core.PasswordRejected("too short"), ExitCode.REFUSED, "too short"),
        (core.Overloaded(retry_after=1), ExitCode.OUTSIDE, "too many checks are waiting"),
        (core.StoreUnavailable(), ExitCode.OUTSIDE, "the database is not available"),
        (ConfigFault("x: wrong"), ExitCode.CONFIG, "x: wrong"),
        (OutsideFault("in use"), ExitCode.OUTSIDE, "in use"),
        (console.WrongUsage("use --yes"), ExitCode.USAGE, "use --yes"),
        (FileNotFoundError(2, "No such file", "a\x1b"), ExitCode.OUTSIDE, "a\\x1b: No such file"),
        (
            KeyError("canary-7f3a"),
            ExitCode.INTERNAL,
            "this is a fault of the program (KeyError); run `lalepass --debug ...` for details",
        ),
    ],
)
def test_every_exception_is_a_sentence_and_a_code(
    capsys: pytest.CaptureFixture[str], error: Exception, code: ExitCode, sentence: str
) -> None:
    assert console.report(error, debug=False) == code
    assert capsys.readouterr().err == f"lalepass: {sentence}\n"


def test_details_come_on_request(operator: Operator) -> None:
    arguments = ["--debug", "--config", "/nowhere.toml", "config", "check"]
    done = subprocess.run(
        [*_LALEPASS, *arguments], capture_output=True, text=True, check=False, timeout=_TIMEOUT
    )

    assert done.returncode == ExitCode.CONFIG
    assert "Traceback" in done.stderr
    assert operator.bare(*arguments[1:]).code == ExitCode.CONFIG


def test_a_reader_that_stops_reading_is_left_in_peace(operator: Operator) -> None:
    for name in ("alice", "bob"):
        operator("user", "add", name, "--no-password").done()
    reading, writing = os.pipe()
    os.close(reading)
    config = str(operator.directory / "lalepass.toml")
    done = subprocess.run(
        [*_LALEPASS, "--config", config, "user", "list", "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=_TIMEOUT,
    )
    os.close(writing)

    assert done.stderr == b""
    assert done.returncode == ExitCode.BROKEN_PIPE


def test_what_it_makes_is_for_its_owner(tmp_path: Path) -> None:
    done = subprocess.run(
        [*_LALEPASS, "init", "--directory", str(tmp_path / "new")],
        stdout=subprocess.DEVNULL,
        check=False,
        timeout=_TIMEOUT,
        umask=0,
    )

    assert done.returncode == ExitCode.OK
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    files = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "new" / "keys").stat().st_mode & 0o777 == 0o700


def test_asking_for_help_does_not_wait_for_a_web_framework() -> None:
    program = (
        "import sys; from lalepass_service.cli.main import run; run(['--version']);"
        "heavy = {'fastapi', 'sqlalchemy', 'pydantic', 'uvicorn', 'nacl', 'rich'}"
        " | {'cryptography'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT,
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_changing_accounts_does_not_wait_for_a_web_framework(operator: Operator) -> None:
    program = (
        "import sys; from lalepass_service.cli.main import run; run(sys.argv[1:]);"
        "print(sorted({'fastapi','uvicorn','prometheus_client'} & set(sys.modules)))"
    )
    config = str(operator.directory / "lalepass.toml")
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", config, "user", "list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT,
    )

    assert done.stdout.splitlines()[-1] == "[]"
