"""A PgBouncer in front of a PostgreSQL: each transaction gets whatever connection is free."""

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.servers.postgres import Postgres
from tests.servers.psql import ROLE
from tests.servers.server import Server, folder, program, unprivileged
from tools.processes import LOOPBACK

_SECONDS: Final = 2.0
_NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})
_SETTINGS: Final = {
    "listen_addr": LOOPBACK,
    "unix_socket_dir": "",
    "auth_type": "scram-sha-256",
    "pool_mode": "transaction",
    "default_pool_size": "20",
    "max_client_conn": "500",
    # Seconds after a server could not be reached; 15 unless said otherwise.
    "server_login_retry": "1",
}


class PgBouncer(Server):
    """One that lets ROLE in, with its password, to every database of a server.

    The port of the server may be that of a link with faults.
    """

    def __init__(
        self,
        *,
        directory: Path,
        password: str,
        target: int,
        settings: Mapping[str, str] = _NO_SETTINGS,
    ) -> None:
        super().__init__(name="pgbouncer", directory=directory)
        self._password = password
        self._target = target
        self._settings = _SETTINGS | dict(settings)

    def command(self) -> list[str]:
        """See `Server`."""
        self._write()
        return [*unprivileged(), program("pgbouncer"), str(self._file)]

    def answers(self) -> bool:
        """See `Server`."""
        try:
            with socket.create_connection((LOOPBACK, self.port), _SECONDS):
                return True
        except OSError:
            return False

    def point_at(self, target: int) -> None:
        """Send what comes from now on to another server, as an operator does after a failover."""
        self._target = target
        self._write()
        if self.pid is not None:
            os.kill(self.pid, signal.SIGHUP)

    @property
    def _file(self) -> Path:
        return self.directory / "pgbouncer.ini"

    def _write(self) -> None:
        # Readable for its account, which nobody else has a way to: the folder is private.
        users = self.directory / "users.txt"
        users.write_text(f'"{ROLE}" "{self._password}"\n', encoding="utf-8")
        settings = {**self._settings, "listen_port": str(self.port), "auth_file": str(users)}
        lines = [
            *("[databases]", f"* = host={LOOPBACK} port={self._target}"),
            *("[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())),
        ]
        self._file.write_text("\n".join((*lines, "")), encoding="utf-8")


@contextmanager
def pgbouncer(
    server: Postgres, *, target: int | None = None, settings: Mapping[str, str] = _NO_SETTINGS
) -> Iterator[PgBouncer]:
    """Make one, started; it is gone afterwards. `target` is the port of the server, or a link's.

    Raises:
        Missing: PgBouncer is not installed.
    """
    with folder("pgbouncer", private=True) as directory:
        bouncer = PgBouncer(
            directory=directory,
            password=server.password,
            target=target or server.port,
            settings=settings,
        )
        try:
            bouncer.start()
            yield bouncer
        finally:
            bouncer.kill()
