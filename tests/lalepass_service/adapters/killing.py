"""Work that is killed at random points.

The work runs in a child of a small process that has imported everything already: so a round costs
a fork and not a start of Python. Forking here, among pytest's threads, would not be safe.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

_NURSERY = """
import os, signal, sys, traceback
namespace = {}
exec(sys.argv[1], namespace)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
print("ready", flush=True)
for line in sys.stdin:
    # that of the round before
    signal.sigtimedwait({signal.SIGCHLD}, 0)
    child = os.fork()
    if child == 0:
        try:
            namespace["work"](*sys.argv[2:])
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    # until the child has ended, or its time is over
    signal.sigtimedwait({signal.SIGCHLD}, float(line))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


def rounds(*, longest: float) -> Iterator[float]:
    """Yield a random delay for each round; LALEPASS_ROUNDS says how many there are."""
    for _ in range(int(os.environ.get("LALEPASS_ROUNDS", "200"))):
        yield random.uniform(0, longest)  # noqa: S311 - no secret


NOTES: Final = """
import os

def taking_notes(path):
    notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return lambda *words: os.write(notes, (" ".join(words) + "\\n").encode())
"""
"""For a program whose work says what has been acknowledged to it. One write of a line to a file is
there as soon as it has been made, and is there whole."""


def notes(path: Path) -> list[tuple[str, ...]]:
    """Return what the work has written down, a line each, in words."""
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


class Nursery:
    """Runs the function `work` of a program in children that can be killed."""

    def __init__(self, program: str, *arguments: str | Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY, program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._line() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def kill_after(self, seconds: float) -> int:
        """Let the work run, kill it, and return its exit code: 0 if it was done before."""
        self.begin(seconds)
        code = int(self._line())
        assert code in {0, -9}
        return code

    def whole(self) -> float:
        """Let the work run to its end, and return how many seconds that took."""
        begun = time.monotonic()
        assert self.kill_after(60) == 0
        return time.monotonic() - begun

    def begin(self, seconds: float = 60) -> None:
        """Let the work run, and go on."""
        assert self._process.stdin
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def finish(self) -> None:
        """Wait until the work is done."""
        assert self._line() == "0"

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()
