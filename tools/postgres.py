"""A PostgreSQL of one's own on loopback, which is gone afterwards: for Synapse with workers."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.processes import LOOPBACK, Process

_ACCOUNT: Final = "postgres"
"""Who runs it where we are root, which PostgreSQL refuses to be."""

_PLACES: Final = "/usr/lib/postgresql"
_TIMEOUT: Final = 120.0


class NoPostgres(Exception):
    """It is not installed."""


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A cluster of databases, made by `made`."""

    directory: Path
    port: int

    def process(self) -> Process:
        """Return the server, not yet started. It keeps nothing over a crash of the machine."""
        return Process(
            name="PostgreSQL",
            command=[
                *_as_its_account(),
                *(_program("postgres"), "-D", str(self.directory / "data")),
                *("-h", LOOPBACK, "-p", str(self.port), "-k", ""),
                *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
            ],
            log=self.directory / "postgres.log",
            directory=self.directory,
        )

    def answers(self) -> bool:
        """Say whether it can be used."""
        asked = [_program("pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        return subprocess.run(asked, check=False, timeout=_TIMEOUT).returncode == 0

    @property
    def synapse_options(self) -> dict[str, object]:
        """What Synapse needs to know of it: the value of `database`."""
        return {
            "name": "psycopg2",
            "args": {
                "host": LOOPBACK,
                "port": self.port,
                "user": _ACCOUNT,
                "dbname": "postgres",
                "cp_min": 1,
                "cp_max": 5,
            },
        }


@contextmanager
def made(port: int) -> Iterator[Postgres]:
    """Make the files of one, and remove them afterwards.

    In a folder of its own below the one for temporary files: its account may enter no other.

    Raises:
        NoPostgres: it is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="lalepass-postgres-") as name:
        directory = Path(name)
        if os.getuid() == 0:
            shutil.chown(directory, _account(), pwd.getpwnam(_account()).pw_gid)
        subprocess.run(
            [
                *_as_its_account(),
                *(_program("initdb"), "-D", str(directory / "data"), "-U", _ACCOUNT),
                *("--encoding", "UTF8", "--locale", "C", "--auth", "trust", "--no-sync"),
            ],
            check=True,
            cwd=directory,
            stdout=subprocess.DEVNULL,
            timeout=_TIMEOUT,
        )
        yield Postgres(directory=directory, port=port)


def _as_its_account() -> tuple[str, ...]:
    if os.getuid() != 0:
        return ()
    # The leash of tools/processes.py is lost with the change of the account: said once more.
    return (
        *("setpriv", f"--reuid={_account()}", f"--regid={_account()}", "--clear-groups"),
        *("--pdeathsig", "KILL", "--"),
    )


def _account() -> str:
    try:
        pwd.getpwnam(_ACCOUNT)
    except KeyError:
        raise NoPostgres("there is no account for PostgreSQL") from None
    return _ACCOUNT


def _program(name: str) -> str:
    # Debian keeps those of each release in a folder, and only some of them on the PATH.
    releases = sorted(Path(_PLACES).glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which(name, path=os.pathsep.join(map(str, reversed(releases))))
    found = found or shutil.which(name)
    if found is None:
        raise NoPostgres(f"{name} is not installed")
    return found
