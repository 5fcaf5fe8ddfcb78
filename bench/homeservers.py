"""Real homeservers for measurements: with Lalepass, with modules that ask nobody, with bcrypt."""

import json
import multiprocessing
import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from synapse.logging.context import make_deferred_yieldable
from synapse.module_api import ModuleApi
from twisted.internet import reactor, task

from lalepass_provider import config as configuration
from lalepass_provider import wiring
from lalepass_wire import Accepted, CheckRequest, UserIdentifier
from tools.processes import LOOPBACK, Process, free_port
from tools.synapse import SynapseConfig

ROOT: Final = Path(__file__).resolve().parent.parent
PEOPLE: Final = 64
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - made up
TOKEN: Final = "lalepass_0123456789ab_" + "x" * 43
_CLOCK: Any = reactor
_LOGIN: Final = "/_matrix/client/v3/login"


class InstantModule:
    """Knows everybody and asks nobody: what a login costs without any check of the password.

    With `seconds`, it says so that much later, and holds nothing but a timer meanwhile.
    """

    def __init__(self, config: dict[str, Any], api: ModuleApi) -> None:
        self._seconds = config.get("seconds", 0)
        self._server_name = api.server_name
        api.register_password_auth_provider_callbacks(
            auth_checkers={("m.login.password", ("password",)): self._check}
        )

    async def _check(self, username: str, *_: object) -> tuple[str, None] | None:
        if self._seconds:
            await make_deferred_yieldable(task.deferLater(_CLOCK, self._seconds))
        return f"@{username}:{self._server_name}", None


class AskingModule:
    """Asks the service with our client, and then does nothing about accounts and profiles."""

    def __init__(self, config: dict[str, Any], api: ModuleApi) -> None:
        parsed = configuration.parse(config)
        self._client = wiring.client(parsed, reactor=reactor, yieldable=make_deferred_yieldable)
        self._server_name = api.server_name
        api.register_password_auth_provider_callbacks(
            auth_checkers={("m.login.password", ("password",)): self._check}
        )

    async def _check(self, username: str, _: str, login: dict[str, Any]) -> tuple[str, None] | None:
        check = CheckRequest(
            identifier=UserIdentifier(localpart=username), password=SecretStr(login["password"])
        )
        answer = await self._client.check(check, request_id=None)
        if not isinstance(answer, Accepted):
            return None
        return f"@{answer.user.localpart}:{self._server_name}", None


def instant(**options: object) -> dict[str, object]:
    """Return the configuration of a homeserver with the first module."""
    return _modules("InstantModule", options)


def asking(**options: object) -> dict[str, object]:
    """Return the configuration of a homeserver with the second module."""
    return _modules("AskingModule", options)


def _modules(name: str, options: dict[str, object]) -> dict[str, object]:
    return {"modules": [{"module": f"bench.homeservers.{name}", "config": options}]}


def bcrypt() -> dict[str, object]:
    """Return the configuration of a homeserver that hashes by itself, as Synapse does."""
    return {"modules": [], "password_config": {"enabled": True, "localdb_enabled": True}}


class Homeserver:
    """A running homeserver with its people `u0`, `u1` and so on."""

    def __init__(self, config: SynapseConfig, process: Process) -> None:
        self.port = config.port
        self._process = process
        self._config = config

    def cpu_seconds(self) -> float:
        """Return the processor time that all of its threads have used, to the nanosecond."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks) / 1e9

    def add_people(self, password_hash: str | None) -> None:
        """Put accounts into the database, as if they had logged in before."""
        path = self._config.directory / "homeserver.db"
        with closing(sqlite3.connect(path, timeout=30)) as database, database:
            database.executemany(
                "INSERT INTO users (name, password_hash, creation_ts, admin, is_guest, deactivated)"
                " VALUES (?, ?, 0, 0, 0, 0)",
                (
                    (f"@u{number}:{self._config.server_name}", password_hash)
                    for number in range(PEOPLE)
                ),
            )


@contextmanager
def running(
    directory: Path, *, service_port: int = 9, extra: dict[str, object] | None = None
) -> Iterator[Homeserver]:
    """Start a homeserver: with Lalepass, whose service is at that port, unless `extra` differs."""
    directory.mkdir(parents=True)
    token = directory / "token"
    token.write_text(TOKEN)
    config = SynapseConfig(
        directory=directory / "synapse",
        port=free_port(),
        service_url=f"http://{LOOPBACK}:{service_port}",
        token_path=token,
        module_options={"timeout": 30},
        log_level="WARNING",
        extra=extra or {},
    )
    config.write()
    process = config.process()
    process.environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'service'}"}
    with process:
        process.wait_until_healthy(timeout=300)
        yield Homeserver(config, process)


class Client:
    """One keep-alive connection to a homeserver: cheap, since it shares the machine with it."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection(LOOPBACK, port, timeout=120)
        # Now and not with the first login: Synapse holds 50 connections that it has not accepted.
        self._connection.connect()

    def log_in(self, number: int, *, device: str) -> float:
        """Log a person in on a device of theirs; return the seconds that it took."""
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": f"u{number % PEOPLE}"},
            "password": PASSWORD,
            "device_id": device,
        }
        begun = time.perf_counter()
        self._connection.request("POST", _LOGIN, json.dumps(body))
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"a login was answered with {answer.status}: {content[:200]!r}")
        return time.perf_counter() - begun

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


_ACCEPTED: Final = '{"result":"accepted","user":{"id":"id-%s","localpart":"%s"}}'


@contextmanager
def service(*, seconds: float = 0.0) -> Iterator[int]:
    """Serve checks in a process of its own, each after so long; yield the port.

    It accepts everybody and costs next to nothing: what is measured is the homeserver.
    """
    context = multiprocessing.get_context("spawn")
    listener = socket.create_server((LOOPBACK, 0), backlog=1024)
    process = context.Process(target=_serve, args=(listener, seconds), daemon=True)
    process.start()
    try:
        yield listener.getsockname()[1]
    finally:
        process.terminate()
        process.join(10)
        listener.close()


def _serve(listener: socket.socket, seconds: float) -> None:
    import asyncio  # noqa: PLC0415 - in the other process only

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].split()
                body = await reader.readexactly(int(length[0]) if length else 0)
                if seconds:
                    await asyncio.sleep(seconds)
                _answer(writer, head, body)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(talk, sock=listener)
        await server.serve_forever()

    asyncio.run(serve())


def _answer(writer: Any, head: bytes, body: bytes) -> None:  # noqa: ANN401 - an asyncio.StreamWriter
    status, answer = "200 OK", '{"status":"ready"}'
    if head.startswith(b"POST /v1/credentials/check "):
        name = json.loads(body)["identifier"]["localpart"]
        answer = _ACCEPTED % (name, name)
    elif not head.startswith(b"GET /health/"):
        status, answer = "404 Not Found", '{"type":"x","title":"x","status":404,"code":"not_found"}'
    lines = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}"
    writer.write(f"{lines}\r\n\r\n{answer}".encode())


def device() -> str:
    """Return the name of a device that nobody has."""
    return secrets.token_hex(5).upper()
