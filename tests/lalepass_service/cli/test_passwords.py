"""Where passwords come from: standard input here, a terminal in `test_terminal.py`."""

import pytest

from lalepass_service.cli import passwords
from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import Operator


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (b"", "standard input is empty: there is no password in it"),
        (b"\n", "standard input is empty: there is no password in it"),
        (b"\r\n", "standard input is empty: there is no password in it"),
        (b"one line\nanother\n", "standard input has more than one line: a password is one line"),
        (b"one line\n\n", "standard input has more than one line: a password is one line"),
        (b"\xff" * 20, "the password on standard input is not UTF-8 text"),
        (b"a" * 100_000, "standard input is too long for a password"),
    ],
)
def test_what_is_no_password_is_refused(operator: Operator, given: bytes, sentence: str) -> None:
    said = operator("user", "add", "alice", "--password-stdin", stdin=given)

    assert said.refused(ExitCode.USAGE) == sentence
    assert operator("user", "list", "--json").document["users"] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"correct horse", "correct horse"),
        (b"correct horse\n", "correct horse"),
        (b"correct horse\r\n", "correct horse"),
        (b" correct horse \n", " correct horse "),
        (b"correct\thorse\n", "correct\thorse"),
        ("grüße, welt\n".encode(), "grüße, welt"),
    ],
)
def test_one_line_ending_is_the_shells_and_all_else_the_passwords(
    operator: Operator, given: bytes, expected: str
) -> None:
    operator.bare("--version", stdin=given)

    assert passwords.read(stdin=True).reveal() == expected


@pytest.mark.parametrize("command", ["add", "set-password"])
def test_without_a_terminal_nobody_can_be_asked(operator: Operator, command: str) -> None:
    operator.add("alice")
    name = "alice" if command == "set-password" else "bob"
    said = operator("user", command, name, stdin="correct horse\ncorrect horse\n")

    assert said.refused(ExitCode.USAGE) == "there is no terminal to ask on: use --password-stdin"


@pytest.mark.parametrize("option", ["--password=canary-7f3a", "--password", "-p"])
def test_a_password_is_no_argument(operator: Operator, option: str) -> None:
    assert operator("user", "add", "alice", option).code == ExitCode.USAGE
