"""The stack of docker-compose.yml, as its users start it, under a project name of its own."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.web import Answer, request

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PROJECT: Final = "lalepass-test"
TAG: Final = "test"
SERVER_NAME: Final = "docker.test"


class CommandFailed(Exception):
    """A command said no. Its text has what it printed; none of these commands prints a secret."""


def docker(*arguments: str, stdin: str = "", timeout: float = 120.0, errors: bool = False) -> str:
    """Run `docker ...` and return what it printed, with or without its standard error.

    Raises:
        CommandFailed: it did not succeed.
    """
    return _run(["docker", *arguments], stdin=stdin, timeout=timeout, errors=errors)


@dataclass(frozen=True)
class Stack:
    """One installation."""

    port: int
    """Where its homeserver listens, on loopback."""
    tag: str = TAG
    project: str = PROJECT
    profile: str = "small"
    changes: str = "tests/docker/compose.yml"
    """What is different from docker-compose.yml in the tests."""
    operator: str = "lalepass"
    """Where operators run their commands."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def compose(self, *arguments: str, stdin: str = "", timeout: float = 300.0) -> str:
        """Run `docker compose ...` and return what it printed to its standard output."""
        settings = {
            "COMPOSE_PROFILES": self.profile,
            "SYNAPSE_SERVER_NAME": SERVER_NAME,
            "SYNAPSE_PUBLIC_BASEURL": f"http://127.0.0.1:{self.port}/",
            "SYNAPSE_PORT": str(self.port),
            "LALEPASS_TAG": self.tag,
            # What is not there locally can't be had: say so instead of asking for it.
            "COMPOSE_PROJECT_NAME": self.project,
            **self.environment,
        }
        files = [f"--file={ROOT / name}" for name in ("docker-compose.yml", self.changes)]
        command = ["docker", "compose", *files, "--project-directory", str(ROOT)]
        command += ["--env-file", os.devnull]
        return _run([*command, *arguments], stdin=stdin, timeout=timeout, environment=settings)

    def up(self, *services: str) -> None:
        """Start all of it or a part, as the README says, and wait until it is healthy."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "240", *services)

    def lalepass(self, *arguments: str, stdin: str = "") -> str:
        """Run an operator's command in the service's container."""
        return self.compose("exec", "-T", self.operator, "lalepass", *arguments, stdin=stdin)

    def add(self, localpart: str, password: str, *options: str) -> None:
        """Make an account."""
        self.lalepass("user", "add", localpart, "--password-stdin", *options, stdin=password)

    def live_tokens(self) -> set[str]:
        """Return the ids of the tokens that are good."""
        listed = json.loads(self.lalepass("token", "list", "--json"))["tokens"]
        return {token["id"] for token in listed if token["revoked_at"] is None}

    def token_in_use(self) -> str:
        """Return the id of the homeserver's token."""
        token = self.compose("exec", "-T", "synapse", "cat", "/secrets/homeserver/token")
        return token.split("_")[1]

    def container(self, service: str) -> str:
        """Return the id of a service's container, running or not."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> Any:
        """Return what the engine knows of a container."""
        (facts,) = json.loads(docker("inspect", self.container(service)))
        return facts

    def network(self, name: str) -> str:
        """Return the engine's name of a network or a volume."""
        return f"{self.project}_{name}"

    @property
    def root(self) -> Path:
        """Where docker-compose.yml is."""
        return ROOT

    def call(
        self, method: str, path: str, *, token: str | None = None, timeout: float = 20.0
    ) -> Answer:
        """Ask the homeserver."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{self.port}{path}"
        return request(method, url, headers=headers, timeout=timeout)

    def login(self, user: str, password: str, *, timeout: float = 20.0) -> Answer:
        """Log in through the homeserver, over plain HTTP."""
        return request(
            "POST",
            f"http://127.0.0.1:{self.port}/_matrix/client/v3/login",
            content={
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user},
                "password": password,
            },
            timeout=timeout,
        )


def _run(
    command: Sequence[str],
    *,
    stdin: str,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    errors: bool = False,
) -> str:
    done = subprocess.run(
        command,
        # Every byte is a letter of Latin-1: a database goes through as it is.
        input=stdin.encode("latin-1"),
        capture_output=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    # A container's log comes in two streams, as it was written.
    printed = done.stdout.decode("latin-1") + (done.stderr.decode("latin-1") if errors else "")
    if done.returncode != 0:
        said = printed + done.stderr.decode(errors="replace")
        raise CommandFailed(f"{' '.join(command)}: {done.returncode}\n{said}")
    return printed
