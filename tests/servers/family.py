"""A process with all that it started: listed, killed at once, or stopped in their tracks.

A group of processes would not do: each process of PostgreSQL has a session of its own.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_FENCE: Final = 30.0
_PAUSE: Final = 0.002
_GONE: Final = frozenset("ZX")
_STOPPED: Final = frozenset("Tt")

# Lets everybody go on whose number it was told, as soon as nobody holds the other end any more:
# what is stopped does not notice that its parent was killed, and would be there for ever.
_GUARD: Final = (
    "sh",
    "-c",
    'all=; while read -r pid; do all="$all $pid"; done; kill -CONT $all 2>/dev/null',
)


def family(pid: int) -> list[int]:
    """Return the process and all that descend from it, parents first."""
    children: dict[int, list[int]] = {}
    for process in _processes():
        if (fields := _fields(process)) is not None and fields[0] not in _GONE:
            children.setdefault(int(fields[1]), []).append(process)
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def kill_all(pid: int) -> None:
    """Kill the process and its descendants with SIGKILL, as one.

    The process itself becomes a zombie until its parent has waited for it; the others are gone.
    """
    # Stopped first, or it starts anew what ends.
    _send(pid, signal.SIGSTOP)
    _wait([pid], _STOPPED | _GONE)
    everybody = family(pid)
    for each in everybody:
        _send(each, signal.SIGKILL)
    _wait(everybody, _GONE)


class Ice:
    """Holds a process and its descendants until they are let go on, or until we are gone."""

    def __init__(self, pid: int) -> None:
        self._guard = subprocess.Popen(
            _GUARD,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # a Ctrl-C is not for it
            process_group=0,
        )
        held: set[int] = set()
        # Again, for what was started while we looked.
        while new := set(family(pid)) - held:
            for each in sorted(new):
                self._hold(each)
            _wait(new, _STOPPED | _GONE)
            held |= new

    def melt(self) -> None:
        """Let them go on."""
        self._guard.communicate(timeout=_FENCE)

    def _hold(self, pid: int) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.write(b"%d\n" % pid)
        self._guard.stdin.flush()
        _send(pid, signal.SIGSTOP)


def _processes() -> Iterable[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())


def _fields(pid: int) -> list[str] | None:
    """Return the state, the parent and so on: proc(5), `/proc/pid/stat` from its third field on."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait(pids: Iterable[int], states: frozenset[str]) -> None:
    deadline = time.monotonic() + _FENCE
    for pid in pids:
        while (fields := _fields(pid)) is not None and fields[0] not in states:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {pid} is in state {fields[0]} still")
            time.sleep(_PAUSE)  # noqa: TID251 - with a deadline
