"""All replicas are listed in the module, and are replaced one by one, while people log in."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr
from twisted.internet import defer, task

from lalepass_provider import config, wiring
from lalepass_provider.client import LalepassClient
from lalepass_provider.errors import NoAnswer
from lalepass_wire import Accepted, CheckRequest, UserIdentifier
from tests.lalepass_provider.on_reactor import on_reactor, reactor
from tests.lalepass_service.versions import NAME, make_newer
from tests.servers.postgres import Postgres
from tests.servers.services import Replica, Services, Settings, services

RIGHT: Final = "correct horse battery"
PEOPLE: Final = {f"user-{number}": RIGHT for number in range(6)}
FENCE: Final = 90.0


@pytest.fixture
def two(postgres_server: Postgres, tmp_path: Path) -> Iterator[Services]:
    database = postgres_server.create_database()
    settings: Settings = {
        **database.settings,
        "server": {"drain_seconds": 1.0},
        # Nobody is turned away because the machine has much else to do.
        "hashing": {"threads": 1, "deadline_seconds": 15},
    }
    with services(tmp_path, count=2, settings=settings, people=PEOPLE) as made:
        yield made
    postgres_server.drop_database(database.name)


class Logins:
    """People who log in all the time, through the module's client."""

    def __init__(self, client: LalepassClient) -> None:
        self.done = 0
        self.failed: list[str] = []
        self.over = False
        self._client = client

    def reach(self, number: int) -> bool:
        """Say whether there were so many."""
        return self.done >= number

    async def log_in(self, name: str) -> None:
        """Do so until it is over."""
        check = CheckRequest(identifier=UserIdentifier(localpart=name), password=SecretStr(RIGHT))
        while not self.over:
            try:
                answer = await self._client.check(check, request_id=None)
                if not isinstance(answer, Accepted):
                    self.failed.append(repr(answer))
            except NoAnswer as none:
                self.failed.append(repr(none))
            self.done += 1


@asynccontextmanager
async def logging_in(made: Services) -> AsyncIterator[Logins]:
    options = {
        "urls": [replica.url for replica in made.replicas],
        "token": made.token,
        # Twice what a service waits at most, for machines that do much else.
        "timeout": 30,
    }
    client = wiring.client(config.parse(options), reactor=reactor)
    logins = Logins(client)
    running = [defer.ensureDeferred(logins.log_in(name)) for name in PEOPLE]
    try:
        yield logins
    finally:
        logins.over = True
        await defer.gatherResults(running)
        await client.aclose()


async def until(fact: Callable[[], bool], what: str) -> None:
    end = reactor.seconds() + FENCE
    while not fact():
        assert reactor.seconds() < end, what
        await task.deferLater(reactor, 0.05)


def migrate(version: Path, settings: Path) -> "subprocess.Popen[bytes]":
    """Begin to bring the tables up to date."""
    return subprocess.Popen(
        [sys.executable, "-m", "lalepass_service", "--config", str(settings), "db", "migrate"],
        env=os.environ | {"PYTHONPATH": str(version)},
        cwd=version,
    )


async def replace(replica: Replica, *, path: Path) -> None:
    """End it in good order, and start the other program, while the reactor goes on."""
    assert replica.ask_to_end() is None
    await until(lambda: not replica.alive, f"{replica.name} ends")
    replica.path = path
    replica.start(wait=False)
    await until(lambda: _answers(replica), f"{replica.name} answers")


def _answers(replica: Replica) -> bool:
    assert replica.alive
    return "ready " in replica.log.read_text(encoding="utf-8").partition(NAME)[2]


@on_reactor
@pytest.mark.timeout(600)
async def test_nobody_fails_to_log_in_while_a_newer_version_takes_over(
    two: Services, tmp_path: Path
) -> None:
    newer = make_newer(tmp_path)
    async with logging_in(two) as logins:
        await until(partial(logins.reach, 20), "people log in")
        migrating = migrate(newer, two.config)
        await until(lambda: migrating.poll() is not None, "the tables are made new")
        for replica in two.replicas:
            await replace(replica, path=newer)
            await until(partial(logins.reach, logins.done + 20), "people log in")

    assert migrating.returncode == 0
    assert logins.failed == []
