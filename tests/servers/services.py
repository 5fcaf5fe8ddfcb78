"""Several replicas of the service on one configuration, as processes."""

import asyncio
import json
import sys
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Final, TypeVar

from lalepass_service.config import load
from lalepass_service.core.audit import Actor
from lalepass_service.core.directory import Directory
from lalepass_service.core.editing import NewUser
from lalepass_service.core.model import Password, UserState
from lalepass_service.parts import open_directory
from lalepass_wire import paths
from tests.commands import ServiceHere
from tests.servers.asking import Caller
from tests.servers.server import Server
from tools import web
from tools.files import write_private
from tools.processes import LOOPBACK
from tools.service import Service

Settings = Mapping[str, Mapping[str, object]]
"""The options of each section of the configuration: text, numbers, booleans and lists of them."""

_NO_THROTTLE: Final[Settings] = {
    "throttle": {"source_per_minute": 1_000_000, "source_burst": 1_000_000},
}
"""All that tests ask comes from one address, which a quick machine does more than 200 times."""

_Result = TypeVar("_Result")
_OPERATOR: Final = Actor(name="operator:tests")
_OK: Final = 200
_GRACE: Final = 30.0


class Replica(Server):
    """One process that serves."""

    def __init__(self, *, name: str, directory: Path, config: Path, program: Sequence[str]) -> None:
        super().__init__(name=name, directory=directory)
        self._config = config
        self._program = program
        self.path: Path | None = None
        """Where the program is from its next start on, if not where ours is."""

    def command(self) -> list[str]:
        """See `Server`."""
        return [sys.executable, "-m", *self._program, "--config", str(self._config), "serve"]

    def environment(self) -> Mapping[str, str]:
        """See `Server`."""
        other = {"PYTHONPATH": str(self.path)} if self.path else {}
        return {**super().environment(), **other, "LALEPASS_SERVER__PORT": str(self.port)}

    def answers(self) -> bool:
        """See `Server`."""
        try:
            return web.request("GET", f"{self.url}{paths.HEALTH_READY}", timeout=2.0).status == _OK
        except (OSError, HTTPException):
            return False

    def stop(self, grace: float = _GRACE) -> int | None:
        """See `Server`."""
        return super().stop(grace)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}"


class Services:
    """An installation with replicas, and its operator."""

    def __init__(self, service: Service, replicas: tuple[Replica, ...], token: str) -> None:
        self.replicas = replicas
        self.token = token
        """Of a homeserver, which may ask everything."""
        self._service = service

    @property
    def config(self) -> Path:
        """Where the configuration of all replicas is."""
        return self._service.config

    def run(self, *arguments: str, password: str | None = None) -> str:
        """Run `lalepass ...` in this process. See `Service`."""
        return self._service.run(*arguments, password=password)

    def start(self) -> None:
        """Start all replicas at once, and wait until the last one is ready."""
        for replica in self.replicas:
            replica.start(wait=False)
        for replica in self.replicas:
            replica.wait_until_ready()

    def caller(self, url: str | None = None, *, timeout: float = 10.0) -> Caller:
        """Return who asks the service there; by default that is the first replica."""
        return Caller(url or self.replicas[0].url, self.token, timeout=timeout)

    def act(self, work: Callable[[Directory], Awaitable[_Result]]) -> _Result:
        """Do what an operator does, with the parts of the command line, and without its start.

        Raises:
            NoAnswer: the database did not answer; it is not known whether it is done.
            OutsideFault: the same, before anything was tried.
        """

        async def run() -> _Result:
            config = load(self._service.config)
            async with open_directory(config, by=_OPERATOR) as directory:
                return await work(directory)

        return asyncio.run(run())

    def set_password(self, localpart: str, password: str) -> None:
        """Change it. See `act`."""
        self.act(lambda directory: directory.set_password(localpart, Password(password)))

    def disable(self, localpart: str) -> None:
        """Refuse an account from now on. See `act`."""
        self.act(lambda directory: directory.set_state(localpart, UserState.DISABLED))

    def enable(self, localpart: str) -> None:
        """Let it in again. See `act`."""
        self.act(lambda directory: directory.set_state(localpart, UserState.ACTIVE))

    def unlock(self, localpart: str) -> bool:
        """Forget its wrong passwords, and say whether it was locked. See `act`."""
        return self.act(lambda directory: directory.unlock(localpart))

    def failures(self, localpart: str) -> int:
        """Return how many wrong passwords are counted. See `act`."""
        return self.act(lambda directory: directory.failures(localpart))


@contextmanager
def services(
    directory: Path,
    *,
    count: int,
    settings: Settings,
    people: Mapping[str, str],
    program: Sequence[str] = ("lalepass_service",),
) -> Iterator[Services]:
    """Make an installation below `directory`, with people and their passwords, and start it.

    Nobody has to wait because of where he asks from, unless `settings` say otherwise. Its replicas
    are gone afterwards; what is in the database of `settings` is not. `program` is the module that
    a replica is, with what it takes in front of the usual arguments.

    Raises:
        CommandRefused: the settings are not right, or the database is not there.
    """
    service = ServiceHere(directory=directory / "lalepass", port=0)
    token = service.directory / "token"
    service.init()
    _change(service.config, {**_NO_THROTTLE, **settings})
    service.run("db", "migrate")
    scopes = ("--scope", "check", "--scope", "feed")
    service.run("token", "create", "homeserver", *scopes, "--output", str(token))
    replicas = tuple(
        Replica(
            name=f"replica-{number}", directory=directory, config=service.config, program=program
        )
        for number in range(1, count + 1)
    )
    made = Services(service, replicas, token.read_text(encoding="utf-8").strip())
    made.act(lambda accounts: _add(accounts, people))
    try:
        made.start()
        yield made
    finally:
        for replica in replicas:
            replica.kill()


async def _add(directory: Directory, people: Mapping[str, str]) -> None:
    for localpart, password in people.items():
        await directory.add(NewUser(localpart=localpart), Password(password))


def _change(config: Path, settings: Settings) -> None:
    """Put these options into the file, in place of those that are there."""
    sections: dict[str, dict[str, object]] = tomllib.loads(config.read_text(encoding="utf-8"))
    for section, options in settings.items():
        sections.setdefault(section, {}).update(options)
    lines: list[str] = []
    for section, options in sections.items():
        # A value of JSON is one of TOML, as long as it is no object and not null.
        pairs = (f"{name} = {json.dumps(value)}" for name, value in options.items())
        lines += [f"[{section}]", *pairs]
    write_private(config, "\n".join((*lines, "")))
