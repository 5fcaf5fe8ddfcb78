"""At a terminal: what is asked, what is shown, and what Ctrl-C does."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import PASSWORD, Operator

_PATIENCE = 60


class _Terminal:
    """A person at a terminal in which a command runs."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self.process = process
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Read until this is on the screen."""
        deadline = time.monotonic() + _PATIENCE
        while text not in self.shown:
            if not self._read(deadline):
                pytest.fail(f"{text!r} never came: {self.shown!r}")

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def insist(self, key: str) -> None:
        """Press a key until the command ends.

        Python misses a Ctrl-C that comes in the moment before it begins to wait for a line: it
        has noted the signal and looks for it only when the wait is over.
        """
        for _ in range(_PATIENCE):
            self.type(key)
            with suppress(subprocess.TimeoutExpired):
                # As long as a busy machine takes to end: a second one would meet it half-way out.
                self.process.wait(10)
                return

    def end(self) -> int:
        """Read the rest, and return the exit code."""
        deadline = time.monotonic() + _PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(_PATIENCE)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], deadline - time.monotonic())
        try:
            read = os.read(self._descriptor, 4096) if ready else b""
        except OSError:
            # The command has closed its side.
            return False
        self.shown += read.decode()
        return bool(read)


@contextmanager
def _at_terminal(operator: Operator, *arguments: str) -> Iterator[_Terminal]:
    ours, theirs = pty.openpty()
    config = str(operator.directory / "lalepass.toml")
    process = subprocess.Popen(
        [sys.executable, "-m", "lalepass_service", "--config", config, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - one thread, and getpass wants /dev/tty
    )
    os.close(theirs)
    try:
        yield _Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _take_terminal() -> None:
    """Make the pseudo-terminal the one that /dev/tty means, and listen to its Ctrl-C.

    As a shell does: whoever runs these tests in the background may have it ignored.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.close(os.open(os.ttyname(0), os.O_RDWR))


def test_a_password_is_asked_for_twice_and_never_shown(operator: Operator) -> None:
    with _at_terminal(operator, "user", "add", "alice") as terminal:
        terminal.wait_for("Password: ")
        terminal.type(f"{PASSWORD}\n")
        terminal.wait_for("Once more: ")
        terminal.type(f"{PASSWORD}\n")

        assert terminal.end() == ExitCode.OK
        assert "user alice is added" in terminal.shown
        assert PASSWORD not in terminal.shown
    assert operator("user", "show", "alice", "--json").document["password_changed_at"]


def test_two_different_answers_are_no_password(operator: Operator) -> None:
    with _at_terminal(operator, "user", "add", "alice") as terminal:
        terminal.wait_for("Password: ")
        terminal.type(f"{PASSWORD}\n")
        terminal.wait_for("Once more: ")
        terminal.type("something else\n")

        assert terminal.end() == ExitCode.REFUSED
        assert "the two passwords differ" in terminal.shown
    assert operator("user", "list", "--json").document["users"] == []


def test_nobody_is_asked_for_a_password_of_nobody(operator: Operator) -> None:
    with _at_terminal(operator, "user", "set-password", "nobody") as terminal:
        assert terminal.end() == ExitCode.REFUSED
        assert "Password" not in terminal.shown


@pytest.mark.parametrize(("typed", "code"), [("alice", ExitCode.OK), ("alic", ExitCode.USAGE)])
def test_who_deletes_types_the_name_again(operator: Operator, typed: str, code: ExitCode) -> None:
    operator("user", "add", "alice", "--no-password").done()
    with _at_terminal(operator, "user", "delete", "alice") as terminal:
        terminal.wait_for("Type alice to delete it for good")
        terminal.type(f"{typed}\n")

        assert terminal.end() == code
    gone = operator("user", "list", "--json").document["users"] == []
    assert gone is (code == ExitCode.OK)


def test_ctrl_c_ends_a_command_quietly(operator: Operator) -> None:
    with _at_terminal(operator, "user", "add", "alice") as terminal:
        terminal.wait_for("Password: ")
        terminal.process.send_signal(signal.SIGINT)

        assert terminal.end() == ExitCode.INTERRUPTED
        assert terminal.shown.strip() == "Password:"


@pytest.mark.parametrize("typed", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_who_does_not_answer_deletes_nothing(operator: Operator, typed: str) -> None:
    operator("user", "add", "alice", "--no-password").done()
    with _at_terminal(operator, "user", "delete", "alice") as terminal:
        terminal.wait_for("Type alice to delete it for good")
        terminal.insist(typed)

        assert terminal.end() == ExitCode.INTERRUPTED
    operator("user", "show", "alice").done()
