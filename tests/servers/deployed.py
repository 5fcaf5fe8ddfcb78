"""The two PostgreSQL of the profile `scale`, by the scripts of deploy/postgres, without containers.

The scripts run as they are, but for the folders and the address that a container has to itself.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.certificates import Authority
from tests.servers.leftovers import remove_segment
from tests.servers.psql import Refused, installed
from tests.servers.server import Server, folder, unprivileged
from tools.processes import LOOPBACK, free_port

ROOT: Final = Path(__file__).parent.parent.parent
_SCRIPTS: Final = ROOT / "deploy" / "postgres"
_PASSWORDS: Final = ROOT / "deploy" / "lalepass" / "passwords.py"
_ROLES: Final = ("synapse", "lalepass", "media", "lookout", "standby")
_TIMEOUT: Final = 100.0
_SLOW: Final = """#!/usr/bin/env bash
# As slow as the file beside it says.
rate=$(cat '{folder}/rate' 2> /dev/null) || rate=
exec {program} ${{rate:+--max-rate="$rate"}} "$@"
"""


class Deployed(Server):
    """One of the two, with what a container of it has."""

    def __init__(self, name: str, *, directory: Path, other: str, ports: Mapping[str, int]) -> None:
        super().__init__(name=name, directory=directory, port=ports[name])
        self._place = directory / name
        self._other = other
        self.data, self.run, self.scripts = (
            self._place / each for each in ("data", "run", "scripts")
        )
        for each in (self.data, self.run):
            each.mkdir(parents=True)
        self._adapt(ports[other])

    def _adapt(self, others_port: int) -> None:
        """Copy the scripts, with other folders, and two servers at one address."""
        shutil.copytree(_SCRIPTS, self.scripts)
        changes = {
            "/var/run/postgresql": str(self.run),
            "/secrets/": f"{self.directory}/",
            "/deploy/": f"{self.scripts}/",
            "host=$OTHER": f"host=$OTHER hostaddr={LOOPBACK} port={others_port}",
            "listen_addresses = '*'": f"listen_addresses = '{LOOPBACK}'",
            "shared_buffers = 256MB": "shared_buffers = 16MB",
            # The account is another one here.
            "    peer": "    trust",
        }
        texts = {path: path.read_text() for path in self.scripts.iterdir()}
        for old, new in changes.items():
            assert any(old in text for text in texts.values()), old
            texts = {path: text.replace(old, new) for path, text in texts.items()}
        for path, text in texts.items():
            path.write_text(text)

    def command(self) -> list[str]:
        """See `Server`."""
        return self.script("start")

    def answers(self) -> bool:
        """See `Server`."""
        return (self.run / "ready").exists()

    def environment(self) -> Mapping[str, str]:
        """See `Server`."""
        programs = Path(installed("postgres")).parent
        return {
            **super().environment(),
            # libpq gives up where it may not even look for a certificate.
            "HOME": str(self.directory),
            "NAME": self.name,
            "OTHER": self._other,
            "PGDATA": str(self.data),
            "PGPORT": str(self.port),
            "PGHOST": str(self.run),
            "PATH": os.pathsep.join((str(self._place / "bin"), str(programs), os.environ["PATH"])),
        }

    def run_script(self, name: str, *arguments: str) -> str:
        """Run one of them beside the server; return all that it said.

        Raises:
            Refused: it failed. The message is what it said.
        """
        done = subprocess.run(
            self.script(name, *arguments),
            env=os.environ | self.environment(),
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
        if done.returncode != 0:
            raise Refused(done.stdout.strip())
        return done.stdout

    def sql(self, text: str, *, user: str = "postgres", database: str = "postgres") -> str:
        """Run SQL, as the superuser or as a role with its password.

        Raises:
            Refused: it was not done.
        """
        place = {"PGHOST": str(self.run)}
        if user != "postgres":
            password = (self.directory / f"{user}.password").read_text()
            place = {"PGHOST": LOOPBACK, "PGPASSWORD": password, "PGSSLMODE": "require"}
        done = subprocess.run(
            [installed("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database],
            env=os.environ | self.environment() | place | {"PGCONNECT_TIMEOUT": "10"},
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
        if done.returncode != 0:
            raise Refused(done.stderr.strip())
        return done.stdout.strip()

    def role(self) -> str:
        """Return `primary`, `standby`, or `away`."""
        try:
            standby = self.sql("SELECT pg_is_in_recovery()")
        except Refused:
            return "away"
        return "standby" if standby == "t" else "primary"

    def said(self) -> str:
        """Return its log, which goes on over restarts."""
        return self.log.read_text() if self.log.exists() else ""

    def copy_slowly(self, rate: str | None) -> None:
        """Let pg_basebackup take no more than this of the other one a second; None for all."""
        tools = self._place / "bin"
        tools.mkdir(exist_ok=True)
        (tools / "rate").write_text(rate or "")
        wrapper = tools / "pg_basebackup"
        wrapper.write_text(_SLOW.format(folder=tools, program=installed("pg_basebackup")))
        wrapper.chmod(0o755)

    def kill(self) -> None:
        """See `Server`."""
        super().kill()
        remove_segment(self.data)
        # In memory, in a container.
        for path in self.run.iterdir():
            path.unlink()

    def script(self, script: str, *arguments: str) -> list[str]:
        """Return how one of them is run, with what `environment` says."""
        return [*unprivileged(), "bash", str(self.scripts / script), *arguments]


@contextmanager
def deployed() -> Iterator[tuple[Deployed, Deployed]]:
    """Make both of a new installation, not started; they are gone afterwards.

    Raises:
        Missing: PostgreSQL is not installed.
    """
    names = ("postgres-1", "postgres-2")
    ports = {name: free_port() for name in names}
    with folder("deployed", private=True, on_disk=False) as directory:
        _make_secrets(directory, names)
        first, second = (
            Deployed(name, directory=directory, other=other, ports=ports)
            for name, other in zip(names, reversed(names), strict=True)
        )
        # Whose they are: everything here is the account's.
        owner = directory.stat()
        for path in directory.rglob("*"):
            os.chown(path, owner.st_uid, owner.st_gid)
        try:
            yield first, second
        finally:
            for server in (first, second):
                server.kill()


def _make_secrets(directory: Path, names: tuple[str, str]) -> None:
    """Make what deploy/lalepass/scale.sh does."""
    place = directory / "postgres"
    (directory / "database").mkdir()
    place.mkdir()
    authority = Authority()
    (place / "ca.crt").write_bytes(authority.certificate)
    for name in names:
        pair = authority.issue(name)
        (place / f"{name}.crt").write_bytes(pair.certificate)
        (place / f"{name}.key").write_bytes(pair.key)
    for role in _ROLES:
        password = directory / f"{role}.password"
        password.write_text(secrets.token_urlsafe(24))
        (place / f"{role}.password").write_text(password.read_text())
        subprocess.run(
            [sys.executable, _PASSWORDS, "scram", password, place / f"{role}.scram"],
            check=True,
            timeout=_TIMEOUT,
        )
    (place / "new.postgres-1").touch()
