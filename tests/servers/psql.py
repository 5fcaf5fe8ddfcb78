"""The programs that come with PostgreSQL, and what they are told."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from tests.servers.server import program, unprivileged
from tools.processes import LOOPBACK

ROLE: Final = "lalepass"
"""Owns the databases that are made here. Has a password, unlike the superuser."""

_PLACES: Final = "/usr/lib/postgresql"
_TIMEOUT: Final = 60.0
_NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


class Refused(Exception):
    """PostgreSQL did not do what it was told."""


def run_sql(text: str, *, port: int, database: str, user: str, password: str = "") -> str:
    """Run SQL on whatever listens there; return as `Postgres.sql` does.

    Raises:
        Refused: it was not done.
    """
    done = subprocess.run(
        [
            *(installed("psql"), "-XqAtF\t", "-v", "ON_ERROR_STOP=1", "-h", LOOPBACK),
            *("-p", str(port), "-U", user, "-d", database),
        ],
        # Not as an argument: there may be a password in it.
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C", "PGCONNECT_TIMEOUT": "10", "PGPASSWORD": password},
        timeout=_TIMEOUT,
    )
    if done.returncode != 0:
        raise Refused(done.stderr.strip())
    return done.stdout.removesuffix("\n")


def run_as_account(*command: str, directory: Path) -> None:
    """Run one of them as whoever runs the servers.

    Raises:
        Refused: it failed.
    """
    done = subprocess.run(
        [*unprivileged(), *command],
        check=False,
        cwd=directory,
        capture_output=True,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
        timeout=_TIMEOUT,
    )
    if done.returncode != 0:
        raise Refused(done.stderr.strip())


def url_of(*ports: int, database: str, options: Mapping[str, str] = _NO_OPTIONS) -> str:
    """Return the URL (libpq, "Connection URIs") of a database on one of these ports of loopback.

    With several of them it is the one that `target_session_attrs` among the options says.
    """
    places = ",".join(f"{LOOPBACK}:{port}" for port in ports)
    asked = "&".join(f"{name}={quote(value)}" for name, value in options.items())
    return f"postgresql://{ROLE}@{places}/{quote(database)}" + (f"?{asked}" if asked else "")


def quoted(value: str) -> str:
    """Return it as SQL has it."""
    return "'" + value.replace("'", "''") + "'"


def installed(name: str) -> str:
    """Return where one of them is.

    Raises:
        Missing: it is not installed.
    """
    # Debian keeps those of each release in a folder, and only some of them on the PATH.
    releases = sorted(Path(_PLACES).glob("*/bin"), key=lambda path: int(path.parent.name))
    return program(name, path=os.pathsep.join((*map(str, reversed(releases)), os.environ["PATH"])))
