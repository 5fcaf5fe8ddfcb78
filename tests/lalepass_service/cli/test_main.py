"""The command line as a program."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import lalepass_service
from lalepass_service.cli import console, operate
from lalepass_service.cli.console import ExitCode
from lalepass_service.core import errors as core
from lalepass_service.faults import ConfigFault, OutsideFault
from tests.lalepass_service.cli.operator import Operator

_LALEPASS = [sys.executable, "-m", "lalepass_service"]
_TIMEOUT = 60
_NEEDS_EXTRA = "this needs the extra [service]: pip install 'lalepass[service]'"


def test_it_says_what_it_is(operator: Operator) -> None:
    assert operator.bare("--version").done() == f"lalepass {metadata.version('lalepass')}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("", "missing command (see `lalepass --help`)"),
        ("--hepl", "no such option: --hepl (Possible options: --help) (see `lalepass --help`)"),
        ("usr", "no such command 'usr'. Did you mean 'user'? (see `lalepass --help`)"),
        ("user", "missing command (see `lalepass user --help`)"),
        ("user ad", "no such command 'ad'. Did you mean 'add'? (see `lalepass user --help`)"),
        ("user add", "missing argument 'NAME' (see `lalepass user add --help`)"),
        ("user list --limit", "option '--limit' requires an argument (see `lalepass --help`)"),
        ("user list --json=1", "option '--json' does not take a value (see `lalepass --help`)"),
        ("serve x", "got unexpected extra argument(s) (x) (see `lalepass serve --help`)"),
    ],
)
def test_what_is_misspelt_is_one_sentence(
    operator: Operator, arguments: str, sentence: str
) -> None:
    assert operator(*arguments.split()).refused(ExitCode.USAGE) == sentence


_COMMANDS = [
    [],
    *(["init"], ["serve"], ["calibrate"], ["config", "check"], ["db", "migrate"], ["db", "status"]),
    *(["doctor"], ["certificate"], ["db", "restored"], ["db", "backup"], ["db", "restore"]),
    *(["db", "copy"],),
    *(["config"], ["db"], ["keys"], ["user"], ["token"], ["blocklist"], ["audit"]),
    *(["topology"], ["topology", "check"]),
    *(["audit", "tail"], ["audit", "export"]),
    *(["user", name] for name in ("add", "show", "list", "set-password", "disable", "enable")),
    *(["user", name] for name in ("unlock", "delete", "import", "edit", "sign-out")),
    *(["keys", name] for name in ("add", "promote", "rewrap", "retire", "status")),
    *(["token", name] for name in ("create", "list", "revoke")),
    *(["blocklist", name] for name in ("build", "check", "verify")),
]


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_help_is_plain_and_fits_a_terminal(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = operator.bare(*command, "--help").done()

    assert said.startswith(" ".join(["Usage: lalepass", *command]))
    assert said.isascii()
    assert max(map(len, said.splitlines())) <= 80
    # A flag takes no value.
    assert "bool" not in said


def test_the_help_of_the_help_is_complete(operator: Operator) -> None:
    """Every command that is listed somewhere is in the list above."""
    groups = ("config", "db", "keys", "user", "token", "blocklist", "audit", "topology")
    for group in ([], *([name] for name in groups)):
        _, _, listed = operator.bare(*group, "--help").done().partition("Commands:\n")
        names = re.findall(r"^  (\S+)", listed, re.MULTILINE)
        assert names
        assert all([*group, name] in _COMMANDS for name in names)


@pytest.mark.parametrize(
    ("scope", "sentence"),
    [
        ("", "missing option '--scope'. Choose from: check, feed"),
        (
            "--scope=chek",
            "invalid value for '--scope': 'chek' is not one of 'check', 'feed'",
        ),
    ],
)
def test_a_choice_is_told(operator: Operator, scope: str, sentence: str) -> None:
    said = operator("token", "create", "hs", *scope.split())

    assert said.refused(ExitCode.USAGE) == f"{sentence} (see `lalepass token create --help`)"


# Bytes that are no UTF-8 arrive from the system so.
@pytest.mark.parametrize("odd", ["\udcff", "a\nb", "\x1b[31m"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["{}"],
        ["--{}"],
        ["user", "{}"],
        ["user", "list", "{}"],
        ["user", "list", "--after", "{}"],
        ["user", "list", "--state", "{}"],
        ["user", "list", "--limit", "{}"],
        ["user", "add", "bob", "--no-password", "--display-name", "{}"],
        ["user", "add", "bob", "--no-password", "--email", "{}@x"],
        ["user", "add", "bob", "--no-password", "--phone", "{}"],
        ["token", "create", "{}", "--scope", "check"],
        ["token", "create", "x", "--scope", "{}"],
        ["token", "revoke", "{}"],
    ],
    ids=" ".join,
)
def test_whatever_is_typed_is_answered_with_one_line(
    operator: Operator, arguments: list[str], odd: str
) -> None:
    said = operator(*(argument.format(odd) for argument in arguments))

    assert said.code in {ExitCode.REFUSED, ExitCode.USAGE}
    assert said.refused(said.code).isprintable()


def test_without_the_extra_it_says_what_is_missing() -> None:
    """As in Synapse's environment, where only the module is wanted."""
    # The path without the packages of the environment, but with ours.
    ours = [str(Path(lalepass_service.__file__).parent.parent)]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "lalepass_service", "--version"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(ours)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
    )

    assert done.returncode == ExitCode.OUTSIDE
    assert done.stderr == f"lalepass: {_NEEDS_EXTRA}\n"


def test_a_part_that_is_missing_is_told_where_it_is_needed(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object) -> None:
        raise ModuleNotFoundError("No module named 'sqlalchemy'", name="sqlalchemy")

    monkeypatch.setattr(operate, "require_database", missing)
    said = operator("user", "add", "alice", "--no-password")

    assert said.refused(ExitCode.OUTSIDE) == _NEEDS_EXTRA


def test_a_part_of_our_own_that_is_missing_is_a_fault_of_the_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = ModuleNotFoundError("x", name="lalepass_service.core.gone")

    assert console.report(error, debug=False) == ExitCode.INTERNAL
    assert "this is a fault of the program" in capsys.readouterr().err


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
