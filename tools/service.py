"""A real Lalepass service and its command line: for the demo and for tests."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.processes import LOOPBACK, Process

_CLI_TIMEOUT = 60.0


class CommandRefused(Exception):
    """`lalepass ...` did not exit with 0; the message is what it said."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(done.stderr.strip() or f"exit code {done.returncode}")
        self.code = done.returncode


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service on SQLite and loopback, with its files in a folder of its own."""

    directory: Path
    """Made by `init`. Gets the configuration, the database and the log."""
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """Options as `LALEPASS_SECTION__OPTION`, on top of what the configuration file says."""
    python: str = sys.executable
    """What it is served with."""

    @property
    def config(self) -> Path:
        """Where `lalepass.toml` is."""
        return self.directory / "lalepass.toml"

    @property
    def log(self) -> Path:
        """Where the log of the process is."""
        return self.directory / "service.log"

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}"

    def init(self) -> None:
        """Make the folder, with the configuration and an empty database.

        Raises:
            CommandRefused: it was made before.
        """
        _run(["init", "--directory", str(self.directory)])

    def run(self, *arguments: str, password: str | None = None) -> str:
        """Run `lalepass ...` on this service and return what it prints.

        A `password` is given on standard input.

        Raises:
            CommandRefused: it did not succeed.
        """
        return _run(["--config", str(self.config), *arguments], given=password)

    def process(self) -> Process:
        """Return the process that serves, not yet started."""
        return Process(
            name="the Lalepass service",
            command=[self.python, *_MODULE, "--config", str(self.config), "serve"],
            log=self.log,
            health_url=f"{self.address}/health/ready",
            environment={"LALEPASS_SERVER__PORT": str(self.port), **self.environment},
        )


# As a module of this interpreter: the program of that name on the PATH may be another release.
_MODULE = ("-m", "lalepass_service")


def _run(arguments: list[str], *, given: str | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *_MODULE, *arguments],
        input=given or "",
        capture_output=True,
        text=True,
        check=False,
        timeout=_CLI_TIMEOUT,
    )
    if done.returncode != 0:
        raise CommandRefused(done)
    return done.stdout
