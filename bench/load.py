"""A service under load: accounts in its database, and clients that cost next to nothing.

The clients share the cores with the service, so they are as lean as can be: bytes made beforehand,
one keep-alive connection each, no HTTP library. What they cost all the same is measured, see
`Cost`.
"""

import asyncio
import json
import os
import resource
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl import bindings

from bench.figures import FOLDER
from lalepass_service.adapters.keys import KeyDirectory, KeyVault
from lalepass_service.core.model import UserId
from tools.processes import LOOPBACK, free_port
from tools.service import Service

PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - made up
MEMORY: Final = 19456 * 1024
ITERATIONS: Final = 2
CORES: Final = len(os.sched_getaffinity(0))
OK: Final = 200

SLOTS: Final = 2
"""Hashes at a time, in all measurements."""

OPTIONS: Final = {
    # The same everywhere; `bench_checks` and `bench_oracle` measure others as well.
    "LALEPASS_HASHING__BINDING": "libsodium",
    "LALEPASS_HASHING__THREADS": str(SLOTS),
    "LALEPASS_THROTTLE__CALLER_PER_SECOND": "1000000",
    "LALEPASS_THROTTLE__CALLER_BURST": "1000000",
}
"""How the service is set up: for more than one homeserver may ask for, with the rule at work."""

_MANY: Final = 100_000
"""From so many accounts on, the records are not wrapped: that alone would take a minute."""


def record() -> bytes:
    """Return a record of the password with the service's own parameters."""
    return bindings.crypto_pwhash_str_alg(
        PASSWORD.encode(), ITERATIONS, MEMORY, bindings.crypto_pwhash_ALG_ARGON2ID13
    )


@dataclass(frozen=True)
class Answer:
    """One answer, as far as it is measured."""

    status: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What a stretch of work took."""

    wall: float
    service_cpu: float
    client_cpu: float

    @property
    def left_cores(self) -> float:
        """How many cores the clients left to the service."""
        return CORES - self.client_cpu / self.wall


@dataclass(frozen=True)
class Running:
    """A service that answers."""

    service: Service
    pid: int
    token: str

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far, all threads."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def resident_mib(self) -> float:
        """Return how much memory it has in use."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the kernel does not say how much memory is in use")

    def request(self, localpart: str, password: str = PASSWORD, *, ip: str | None = None) -> bytes:
        """Return a check as it goes over the wire, of somebody at this address."""
        asked: dict[str, object] = {
            "identifier": {"kind": "user", "localpart": localpart},
            "password": password,
        }
        body = json.dumps(asked | ({"source": {"ip": ip}} if ip else {})).encode()
        head = (
            f"POST /v1/credentials/check HTTP/1.1\r\nHost: {LOOPBACK}\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    @contextmanager
    def cost(self) -> Iterator[list[Cost]]:
        """Measure what is done inside; the list has the cost afterwards."""
        costs: list[Cost] = []
        wall, service, client = time.perf_counter(), self.cpu_seconds(), _own_cpu()
        yield costs
        costs.append(
            Cost(time.perf_counter() - wall, self.cpu_seconds() - service, _own_cpu() - client)
        )


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def serving(
    directory: Path,
    accounts: int,
    environment: Mapping[str, str],
    *,
    processes: int = 1,
    python: str = sys.executable,
    prepare: Callable[[Path], None] = lambda _: None,
) -> Iterator[list[Running]]:
    """Start services on one database that has accounts `u0`, `u1` and so on, with the password.

    `prepare` is given its folder when all that is there, and nothing is started yet.
    """
    service = _service(directory, environment, python)
    service.init()
    token = directory / "token"
    service.run("token", "create", "bench", "--scope", "check", "--output", str(token))
    fill(service.directory, accounts)
    prepare(service.directory)
    with ExitStack() as stack:
        running = []
        for _ in range(processes):
            each = _service(directory, environment, python)
            process = stack.enter_context(each.process())
            process.wait_until_healthy(timeout=120)
            if process.pid is None:
                raise RuntimeError("the service has ended")
            running.append(Running(each, process.pid, token.read_text().strip()))
        yield running


def _service(directory: Path, environment: Mapping[str, str], python: str) -> Service:
    return Service(
        directory=directory / "service",
        port=free_port(),
        environment={"LALEPASS_LOG__LEVEL": "warning", **environment},
        python=python,
    )


def id_of(number: int, prefix: str = "u") -> UserId:
    """Return the id of an account that `fill` makes: spread like the random ones of real ones."""
    return UserId(f"{number * 2654435761 % 2**32:08x}-{prefix}{number}")


def fill(
    directory: Path,
    accounts: int,
    *,
    prefix: str = "u",
    state: str = "active",
    password: bool = True,
) -> None:
    """Put accounts into the database, all with one record: what is read is as long as always."""
    phc, vault = record().decode(), KeyVault(KeyDirectory(directory / "keys"))
    made = "2026-01-01T00:00:00.000000+00:00"

    def stored(number: int) -> tuple[str, str, str | None, str]:
        user_id = id_of(number, prefix)
        sealed = (phc, None) if accounts >= _MANY else vault.seal(phc, user_id=user_id)
        return user_id, sealed[0], sealed[1], made

    with closing(sqlite3.connect(directory / "lalepass.db")) as connection, connection:
        connection.execute("PRAGMA cache_size = -200000")
        connection.executemany(
            "INSERT INTO users (id, localpart, state, admin, created_at) VALUES (?, ?, ?, 0, ?)",
            ((id_of(n, prefix), f"{prefix}{n}", state, made) for n in range(accounts)),
        )
        if password:
            connection.executemany(
                "INSERT INTO passwords (user_id, phc, key_id, changed_at) VALUES (?, ?, ?, ?)",
                map(stored, range(accounts)),
            )


class Client(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[int] | None = None
        self._read = b""

    async def ask(self, request: bytes) -> Answer:
        """Send a request and wait for its answer."""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            self._transport, _ = await loop.create_connection(lambda: self, LOOPBACK, self._port)
        self._answered, self._read = loop.create_future(), b""
        began = time.perf_counter()
        self._transport.write(request)
        status = await self._answered
        return Answer(status, time.perf_counter() - began)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Take in a part of an answer."""
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found or self._answered is None or self._answered.done():
            return
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].split(None, 1)[0])
        if len(body) >= length:
            if b"connection: close" in lowered:
                self.close()
            self._answered.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self._transport = None
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionError("the service has hung up"))


async def closed_loop(
    running: Running, *, clients: int, seconds: float, first: int = 0, placed: bool = False
) -> list[Answer]:
    """Check as fast as the service answers, each time another of the first thousand accounts.

    Args:
        running: the service.
        clients: how many ask at a time.
        seconds: for how long they begin anew.
        first: the number of the account to begin with.
        placed: whether each account comes from an address of its own.
    """
    answers: list[Answer] = []
    end = time.perf_counter() + seconds

    async def loop(number: int) -> None:
        client, account = Client(running.service.port), first + number
        while time.perf_counter() < end:
            person = account % 1000
            ip = f"2001:db8:{person:x}::1" if placed else None
            answers.append(await client.ask(running.request(f"u{person}", ip=ip)))
            account += clients
        client.close()

    await asyncio.gather(*map(loop, range(clients)))
    return answers


def only_good(answers: Sequence[Answer]) -> Sequence[Answer]:
    """Return the answers.

    Raises:
        RuntimeError: one of them is a problem, so that they measure something else.
    """
    if wrong := {answer.status for answer in answers} - {OK}:
        raise RuntimeError(f"answered with {sorted(wrong)}")
    return answers


def keep(name: str, figures: object) -> None:
    """Write figures down for machines."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
