"""What all servers have in common: they start, end, are killed, and stop in their tracks."""

import os
import pwd
import shutil
import signal
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final, Self

from tests.servers.family import Ice, kill_all
from tests.servers.leftovers import folder_prefix, tidy
from tools.processes import NotHealthyInTime, Process, free_port

FENCE: Final = 60.0
"""Seconds that a server may take to start; it takes one."""

_PAUSE: Final = 0.02
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder with a name of its own is made in it
_PLENTY: Final = 4 << 30
_ACCOUNT: Final = "postgres"
"""Who runs PostgreSQL and PgBouncer where we are root, which both refuse to be."""


class Missing(Exception):
    """A server is not installed here."""


class Server(ABC):
    """One server on loopback, whose port stays the same over restarts."""

    END_SIGNAL: ClassVar = signal.SIGTERM
    """How it is asked to end, which `stop` does."""

    def __init__(self, *, name: str, directory: Path, port: int | None = None) -> None:
        self.name = name
        self.directory = directory
        # Nor is it one that the system gives to clients: one that tries again and again to reach a
        # server that is down might get that very port, be connected with itself, and keep it.
        self.port = port or free_port()
        self._process: Process | None = None
        self._ice: Ice | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return how it is started."""

    @abstractmethod
    def answers(self) -> bool:
        """Say whether it can be used."""

    def __enter__(self) -> Self:
        """Start it, and wait until it can be used."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()

    def environment(self) -> Mapping[str, str]:
        """Return its variables, on top of ours."""
        # what it says, in words that tests can look for
        return {"LC_ALL": "C"}

    @property
    def log(self) -> Path:
        """What it says."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether it runs, be it stopped in its tracks."""
        return self.pid is not None

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it can be used.

        Raises:
            RuntimeError: it runs already, or this is not the main thread.
            ProcessError: it ended, or is not ready in time.
        """
        if threading.current_thread() is not threading.main_thread():
            # tools/processes.py: it would end with the thread that started it.
            raise RuntimeError("servers are started from the main thread")
        if self.alive:
            raise RuntimeError(f"{self.name} runs already")
        self._process = Process(
            name=self.name,
            command=self.command(),
            log=self.log,
            directory=self.directory,
            environment=self.environment(),
            end_signal=self.END_SIGNAL,
        )
        self._process.start()
        if wait:
            try:
                self.wait_until_ready()
            except BaseException:
                self.kill()
                raise

    def wait_until_ready(self, seconds: float = FENCE) -> None:
        """Return as soon as it can be used.

        Raises:
            ProcessError: it ended, or is not ready in time.
        """
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while not self.answers():
            self._process.check_alive(wait=_PAUSE)
            if time.monotonic() > deadline:
                raise NotHealthyInTime(
                    f"{self.name} is not ready after {seconds:.0f} s: {self._process.log_tail()}",
                    log=self.log,
                    log_tail=self._process.log_tail(),
                )

    def stop(self, grace: float = 10.0) -> int | None:
        """End it in good order, and after `grace` seconds in any. Nothing if it does not run.

        Returns:
            Its exit code, None if it had to be killed, or did not run.
        """
        self.resume()
        try:
            return self.ask_to_end(grace)
        finally:
            self.kill()

    def ask_to_end(self, grace: float = 0.0) -> int | None:
        """Ask it to end; return its exit code, None if it still runs after `grace` seconds."""
        return self._process.ask_to_end(grace) if self._process and self.alive else None

    def kill(self) -> None:
        """End all of its processes at once with SIGKILL. Nothing if it does not run."""
        if self.pid is not None:
            kill_all(self.pid)
        if self._process is not None:
            self._process.stop(grace=0)
        self.resume()

    def restart(self) -> None:
        """End it in good order and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop all of its processes in their tracks: its connections stay, and nobody answers."""
        if self.pid is None:
            raise RuntimeError(f"{self.name} does not run")
        if self._ice is None:
            self._ice = Ice(self.pid)

    def resume(self) -> None:
        """Let it go on. Nothing if it is not paused."""
        if self._ice is not None:
            ice, self._ice = self._ice, None
            ice.melt()


@contextmanager
def folder(name: str, *, private: bool = False, on_disk: bool = True) -> Iterator[Path]:
    """Make a folder that is gone afterwards, below the one for temporary files.

    A `private` one is for who runs PostgreSQL, who may enter no other folder of ours. One that need
    not be `on_disk` is in memory if there is plenty: a busy disk takes seconds for a database.
    """
    place = Path(tempfile.gettempdir()) if on_disk or not _has_memory() else _MEMORY
    tidy(place)
    prefix = folder_prefix(name, owner=os.getpid())
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place) as made:
        if private and os.getuid() == 0:
            account = _account()
            os.chown(made, account.pw_uid, account.pw_gid)
        yield Path(made)


def _has_memory() -> bool:
    usable = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)
    return usable and shutil.disk_usage(_MEMORY).free > _PLENTY


def unprivileged() -> tuple[str, ...]:
    """Return what to put before a command that root may not run."""
    if os.getuid() != 0:
        return ()
    account = _account()
    # The leash of tools/processes.py is lost with the change of the account: said once more.
    return (
        *("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"),
        *("--pdeathsig", "KILL", "--"),
    )


def program(*names: str, path: str | None = None) -> str:
    """Return where the first of these is that is installed.

    Raises:
        Missing: none is.
    """
    # Debian keeps servers where only root looks.
    places = path or os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    for name in names:
        if found := shutil.which(name, path=places):
            return found
    raise Missing(f"{' or '.join(names)} is not installed")


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_ACCOUNT)
    except KeyError:
        raise Missing("there is no account for PostgreSQL") from None
