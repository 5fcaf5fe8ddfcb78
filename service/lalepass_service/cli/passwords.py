"""Where a new password comes from: a terminal or standard input, never the command line.

Arguments and environment variables can be read by other processes and end up in shell histories.
"""

import getpass
import sys
from typing import Annotated, Final

import typer

from lalepass_service.cli.console import WrongUsage
from lalepass_service.core.errors import InvalidInput
from lalepass_service.core.model import Password

Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]

_MAX_BYTES: Final = 4096
"""Far more than any rule allows, and a bound for what is read."""


def read(*, stdin: bool, new: bool = True) -> Password:
    """Get a password; a new one is asked for twice.

    Raises:
        WrongUsage: there is nobody to ask, or standard input holds no password.
        InvalidInput: the two answers differ.
    """
    return Password(line_from_stdin("password")) if stdin else _from_terminal(new=new)


def _from_terminal(*, new: bool) -> Password:
    if not sys.stdin.isatty():
        raise WrongUsage("there is no terminal to ask on: use --password-stdin")
    try:
        first = getpass.getpass("Password: ")
        again = getpass.getpass("Once more: ") if new else first
    except UnicodeDecodeError:
        # Not chained: the exception holds the input.
        raise WrongUsage("what was typed is not UTF-8 text") from None
    if again != first:
        raise InvalidInput("the two passwords differ")
    return Password(first)


def line_from_stdin(what: str) -> str:
    """Read the one line that standard input has to be.

    Raises:
        WrongUsage: it is another thing, or nothing; the text says which, and of `what`.
    """
    raw = sys.stdin.buffer.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise WrongUsage(f"standard input is too long for a {what}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: the exception holds the input.
        raise WrongUsage(f"the {what} on standard input is not UTF-8 text") from None
    # One line ending is the shell's, all else is the password's.
    line = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not line:
        raise WrongUsage(f"standard input is empty: there is no {what} in it")
    if "\n" in line:
        raise WrongUsage(f"standard input has more than one line: a {what} is one line")
    return line
