"""Servers as child processes: start, wait until they are well, end them for certain.

    with Process(name="Synapse", command=[...], log=Path("synapse.log"), health_url=url) as synapse:
        synapse.wait_until_healthy()
        ...

A child ends with its parent in every case: `stop` ends its whole process group, and the leash
(`leash.py`) holds when the parent is killed. Start it from the main thread: for the kernel, the
parent is the thread that started the child.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Final, Self

from tools import web
from tools.files import last_lines

LOOPBACK: Final = "127.0.0.1"
_LEASH: Final = Path(__file__).with_name("leash.py")
_OK: Final = 200
_PAUSE: Final = 0.05
_FIRST_PORT: Final = 16384
_CONNECTIONS: Final = 32768
_GIVEN: Final[set[int]] = set()
"""The ports that this process was given by `free_port`."""


class ProcessError(Exception):
    """A child process is not what it should be. `log_tail` holds its last words."""

    def __init__(self, sentence: str, *, log: Path, log_tail: str) -> None:
        super().__init__(sentence)
        self.log = log
        self.log_tail = log_tail


class ProcessDied(ProcessError):
    """It ended although nobody asked it to."""


class NotHealthyInTime(ProcessError):
    """It runs, but did not say in time that it is well."""


@dataclass(kw_only=True)
class Process:
    """One child process, in a process group of its own, writing to a log file."""

    name: str
    """How messages call it."""
    command: Sequence[str]
    log: Path
    """Gets standard output and standard error. A second start appends to it."""
    health_url: str | None = None
    """Answers with 200 as soon as the process can be used. http and loopback only."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """On top of our own."""
    directory: Path | None = None
    """Where it runs, ours unless given."""
    end_signal: signal.Signals = signal.SIGTERM
    """How it is asked to end."""
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid if self._child and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it, and return without waiting.

        Raises:
            RuntimeError: it runs already.
        """
        if self.alive:
            raise RuntimeError(f"{self.name} runs already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid())]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*leash, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(self.environment),
                # A Ctrl-C on the terminal reaches us and not the children: we end them in order.
                process_group=0,
            )

    def wait_until_healthy(self, timeout: float = 60.0) -> None:
        """Return as soon as `health_url` answers with 200.

        Raises:
            ProcessDied: it ended instead.
            NotHealthyInTime: `timeout` seconds have passed.
        """
        if self.health_url is None:
            raise ValueError(f"{self.name} has no health_url to ask")
        deadline = time.monotonic() + timeout
        while not self._is_healthy(self.health_url):
            self.check_alive(wait=_PAUSE)
            if time.monotonic() > deadline:
                raise NotHealthyInTime(
                    f"{self.name} did not become ready within {timeout:.0f} seconds",
                    log=self.log,
                    log_tail=self.log_tail(),
                )

    def check_alive(self, *, wait: float = 0.0) -> None:
        """Return after `wait` seconds if it still runs then.

        Raises:
            ProcessDied: it does not.
        """
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        try:
            code = self._child.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            return
        raise ProcessDied(
            f"{self.name} ended by itself ({_ending(code)})",
            log=self.log,
            log_tail=self.log_tail(),
        )

    def wait(self) -> int:
        """Return its exit code as soon as it has ended by itself."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._child.wait()

    def stop(self, grace: float = 10.0) -> None:
        """End it and all in its group: `end_signal`, and SIGKILL after `grace` seconds.

        Does nothing if it was not started. Afterwards it may be started again.
        """
        child = self._child
        if child is None:
            return
        try:
            self.ask_to_end(grace)
        finally:
            self._child = None
            # Also after a timely end, for what it may have left behind in its group.
            _signal_group(child.pid, signal.SIGKILL)
            child.wait()

    def ask_to_end(self, grace: float) -> int | None:
        """Ask it to end; return its exit code, None if it still runs after `grace` seconds."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        _signal_group(self._child.pid, self.end_signal)
        try:
            return self._child.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            return None

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        return last_lines(self.log, lines)

    def _is_healthy(self, url: str) -> bool:
        try:
            return web.request("GET", url, timeout=2.0).status == _OK
        except (OSError, HTTPException):
            return False


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Say whether a server could listen there now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As servers do it: a connection that is closing is no obstacle, another server is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = LOOPBACK) -> int:
    """Return a port on which nobody listens, another one each time.

    Below those that Linux gives to connections (`ip_local_port_range`): some of those last for as
    long as a test, and one may begin before the server does. Somebody else may still take the port
    before you do.
    """
    for _ in range(1000):
        port = random.randrange(_FIRST_PORT, _CONNECTIONS)  # noqa: S311 - spread and not secret
        if port not in _GIVEN and port_is_free(port, host):
            _GIVEN.add(port)
            return port
    raise OSError(f"there is no free port from {_FIRST_PORT} to {_CONNECTIONS} on {host}")


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name
