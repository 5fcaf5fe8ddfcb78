"""`lalepass ...` in this process: one of its own needs more than a second to start.

What an operator meets of that process is tested in `tests/lalepass_service/cli`.
"""

import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from unittest.mock import patch

from lalepass_service.cli import main
from tools.service import CommandRefused, Service


class ServiceHere(Service):
    """A service whose commands are run here."""

    def init(self) -> None:
        """See `Service`."""
        run("init", "--directory", str(self.directory))

    def run(self, *arguments: str, password: str | None = None) -> str:
        """See `Service`."""
        return run("--config", str(self.config), *arguments, given=password or "")


def run(*arguments: str, given: str = "") -> str:
    """Run it with this on standard input, and return what it prints.

    Raises:
        CommandRefused: it did not succeed.
    """
    said, wrong = _text(), _text()
    with (
        patch.object(sys, "stdin", _text(given)),
        redirect_stdout(said),
        redirect_stderr(wrong),
    ):
        code = main.run(arguments)
    if code != 0:
        done = subprocess.CompletedProcess(arguments, code, _read(said), _read(wrong))
        raise CommandRefused(done)
    return _read(said)


def _text(content: str = "") -> TextIOWrapper:
    # With bytes behind it, as the real ones have.
    return TextIOWrapper(BytesIO(content.encode()), encoding="utf-8")


def _read(stream: TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
