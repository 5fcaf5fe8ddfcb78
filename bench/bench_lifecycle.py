"""How soon a homeserver does what was decided in Lalepass.

    make bench                     or: python -m bench.bench_lifecycle [--turns N]

A real service and a real Synapse. From the commit of an operator's act, in another process, to the
first request of a session that is refused: after a disable, and after an order to sign out. And
from an enable to the first one that is served again.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from bench.bench_locked import configured
from bench.load import PASSWORD, Running, fill, id_of, keep, percentile
from lalepass_service.adapters.clock import SystemClock
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.audit import Actor, Event
from lalepass_service.core.model import UserState
from tools import web
from tools.processes import LOOPBACK, free_port
from tools.service import Service
from tools.synapse import SynapseConfig

_PERSON: Final = id_of(0)
_CLIENT: Final = "/_matrix/client/v3"
_OK: Final = 200
_REFUSED: Final = 401
_FENCE: Final = 60.0
_BETWEEN: Final = 0.002


class Operator:
    """Acts on the database, as `lalepass user` does, without the time that it takes to start."""

    def __init__(self, database: Database) -> None:
        self._users = SqlUsers(database)
        self._by = Actor(name="operator:bench")

    async def disable(self) -> None:
        """Lock the person out."""
        act = self._by.act(Event.USER_DISABLED, at=SystemClock().now())
        await self._users.set_state(_PERSON, UserState.DISABLED, act=act)

    async def enable(self) -> None:
        """Let the person in again."""
        act = self._by.act(Event.USER_ENABLED, at=SystemClock().now())
        await self._users.set_state(_PERSON, UserState.ACTIVE, act=act)

    async def sign_out(self) -> None:
        """End all sessions."""
        clock = SystemClock()
        act = self._by.act(Event.USER_SIGNED_OUT, at=clock.now())
        await self._users.sign_out(_PERSON, now=clock.now, act=act)


def log_in(config: SynapseConfig) -> str:
    """Return the token of a new session."""
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "u0"},
        "password": PASSWORD,
    }
    answer = web.request("POST", f"{config.address}{_CLIENT}/login", content=body, timeout=30)
    if answer.status != _OK:
        raise RuntimeError(f"a login was answered with {answer.status}: {answer.body[:200]!r}")
    token: str = json.loads(answer.body)["access_token"]
    return token


async def after(
    act: Callable[[], Awaitable[None]], config: SynapseConfig, token: str, *, status: int
) -> float:
    """Return the seconds from the end of an act to the first answer of this status."""
    await act()
    begun = time.perf_counter()
    await asyncio.to_thread(_wait, config, token, status)
    return time.perf_counter() - begun


def _wait(config: SynapseConfig, token: str, status: int) -> None:
    connection = HTTPConnection(LOOPBACK, config.port, timeout=60)
    deadline = time.perf_counter() + _FENCE
    while True:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("GET", f"{_CLIENT}/account/whoami", headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status == status:
            break
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{answer.status} and not {status} for {_FENCE:.0f} s")
        time.sleep(_BETWEEN)  # noqa: TID251 - with a deadline
    connection.close()


async def measure(database: Path, config: SynapseConfig, turns: int) -> dict[str, Sequence[float]]:
    """Return the seconds of each turn, by what was done."""
    opened = Database.open(database)
    operator = Operator(opened)
    seconds: dict[str, list[float]] = {"disable": [], "enable": [], "sign out": []}
    token = log_in(config)
    for turn in range(turns):
        # Not in step with anything that looks at the database now and then.
        await asyncio.sleep(0.3 + 0.013 * (turn % 23))
        seconds["disable"].append(await after(operator.disable, config, token, status=_REFUSED))
        await asyncio.sleep(0.1)
        seconds["enable"].append(await after(operator.enable, config, token, status=_OK))
    for turn in range(turns):
        await asyncio.sleep(0.3 + 0.013 * (turn % 23))
        seconds["sign out"].append(await after(operator.sign_out, config, token, status=_REFUSED))
        token = await asyncio.to_thread(log_in, config)
    await opened.close()
    return dict(seconds)


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        environment = {"LALEPASS_LOG__LEVEL": "warning"}
        service = Service(
            directory=directory / "service", port=free_port(), environment=environment
        )
        service.init()
        token = directory / "token"
        scopes = ("--scope", "check", "--scope", "feed")
        service.run("token", "create", "bench", *scopes, "--output", str(token))
        fill(service.directory, 1)
        with service.process() as process:
            process.wait_until_healthy(timeout=120)
            running = Running(service, process.pid or 0, token.read_text().strip())
            config = configured(directory, running)
            config.write()
            with config.process() as synapse:
                synapse.wait_until_healthy(timeout=300)
                database = service.directory / "lalepass.db"
                seconds = asyncio.run(measure(database, config, options.turns))
    result = {
        what: {
            "turns": len(each),
            "p50_ms": 1000 * statistics.median(each),
            "p99_ms": 1000 * percentile(each, 0.99),
            "max_ms": 1000 * max(each),
        }
        for what, each in seconds.items()
    }
    for what, figures in result.items():
        print(f"{what:<10}", ", ".join(f"{key} {value:.0f}" for key, value in figures.items()))
    keep("lifecycle", result)


if __name__ == "__main__":
    main()
