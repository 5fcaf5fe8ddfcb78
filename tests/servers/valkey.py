"""A Valkey of one's own, or a Redis where that is what is installed."""

import io
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from tests.servers.server import Server, folder, program
from tools.files import write_private
from tools.processes import LOOPBACK

_PROGRAMS: Final = ("valkey-server", "redis-server")
_SPACES: Final = 4096
_SECONDS: Final = 2.0

Reply = str | int | None | list["Reply"]


class Refused(Exception):
    """It answered with an error."""


class Valkey(Server):
    """One that keeps each write before it answers (`keeps`), or nothing over its end.

    It answers nobody without the `password`, if there is one.
    """

    def __init__(
        self, *, directory: Path, keeps: bool = False, name: str = "valkey", password: str = ""
    ) -> None:
        super().__init__(name=name, directory=directory)
        self._keeps = keeps
        self.password = password
        self._numbers = count(1)

    def command(self) -> list[str]:
        """See `Server`."""
        keeps = ("yes", "--appendfsync", "always") if self._keeps else ("no",)
        # Not as an argument, which everybody can read.
        configuration = self.directory / f"{self.name}.conf"
        write_private(configuration, f"requirepass {self.password}\n" if self.password else "")
        return [
            *(program(*_PROGRAMS), str(configuration)),
            *("--bind", LOOPBACK, "--port", str(self.port)),
            *("--databases", str(_SPACES), "--save", "", "--dir", str(self.directory)),
            *("--appenddirname", "kept", "--appendonly", *keeps),
        ]

    def answers(self) -> bool:
        """See `Server`."""
        try:
            return self.ask("PING") == "PONG"
        except (OSError, Refused):
            # refused: it is still reading what it has kept
            return False

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://{LOOPBACK}:{self.port}"

    def new_url(self) -> str:
        """Return the URL of an empty database on it that nobody else has been given."""
        return f"{self.url}/{next(self._numbers)}"

    def ask(self, *words: str, database: int = 0, seconds: float = _SECONDS) -> Reply:
        """Send one command and return the answer.

        Raises:
            OSError: there was none within so many seconds.
            Refused: it was an error.
        """
        with socket.create_connection((LOOPBACK, self.port), seconds) as connection:
            first = [_command("AUTH", self.password)] if self.password else []
            first.append(_command("SELECT", str(database)))
            connection.sendall(b"".join(first) + _command(*words))
            with connection.makefile("rb") as answers:
                for _ in first:
                    _read(answers)
                return _read(answers)

    def forget(self) -> None:
        """Remove what it has kept, while it is down."""
        if self.alive:
            raise RuntimeError(f"{self.name} runs")
        shutil.rmtree(self.directory / "kept", ignore_errors=True)


@contextmanager
def valkey(*, keeps: bool = False) -> Iterator[Valkey]:
    """Make one, started; it is gone afterwards.

    Raises:
        Missing: neither Valkey nor Redis is installed.
    """
    with folder("valkey") as directory:
        server = Valkey(directory=directory, keeps=keeps)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _command(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def _read(answers: io.BufferedIOBase) -> Reply:
    """Read one answer in the older form of the protocol (RESP2)."""
    line = answers.readline().removesuffix(b"\r\n")
    kind, rest = line[:1], line[1:].decode()
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else answers.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return None if rest == "-1" else [_read(answers) for _ in range(int(rest))]
    if kind == b"-":
        raise Refused(rest)
    raise ConnectionError("the connection was cut")
