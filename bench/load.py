"""A service under load: accounts in its database, and clients that cost next to nothing.

The clients share the two cores with the service, so they are as lean as can be: bytes made
beforehand, one keep-alive connection each, no HTTP library.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl import bindings

from tools.processes import LOOPBACK, free_port
from tools.service import Service

ROOT: Final = Path(__file__).resolve().parent.parent
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - made up
MEMORY: Final = 19456 * 1024
ITERATIONS: Final = 2


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
class Running:
    """A service that answers."""

    service: Service
    pid: int
    token: str

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def resident_mib(self) -> float:
        """Return how much memory it has in use."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the kernel does not say how much memory is in use")

    def request(self, localpart: str, password: str = PASSWORD) -> bytes:
        """Return a check as it goes over the wire."""
        body = json.dumps(
            {"identifier": {"kind": "user", "localpart": localpart}, "password": password}
        ).encode()
        head = (
            f"POST /v1/credentials/check HTTP/1.1\r\nHost: {LOOPBACK}\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@contextmanager
def serving(directory: Path, accounts: int, **environment: str) -> Iterator[Running]:
    """Start a service that has accounts `u0`, `u1` and so on, all with the password."""
    service = Service(
        directory=directory / "service",
        port=free_port(),
        environment={"LALEPASS_LOG__LEVEL": "warning", **environment},
    )
    service.init()
    token = directory / "token"
    service.run("token", "create", "bench", "--scope", "check", "--output", str(token))
    fill(service.directory / "lalepass.db", accounts)
    with service.process() as process:
        process.wait_until_healthy(timeout=120)
        if process.pid is None:
            raise RuntimeError("the service has ended")
        yield Running(service, process.pid, token.read_text().strip())


def fill(database: Path, accounts: int) -> None:
    """Put accounts into the database, all with one record: what is read is as long as always."""
    phc = record().decode()
    made = "2026-01-01T00:00:00.000000+00:00"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO users (id, localpart, state, admin, created_at)"
            " VALUES (?, ?, 'active', 0, ?)",
            ((f"id-{n:07}", f"u{n}", made) for n in range(accounts)),
        )
        connection.executemany(
            "INSERT INTO passwords (user_id, phc, changed_at) VALUES (?, ?, ?)",
            ((f"id-{n:07}", phc, made) for n in range(accounts)),
        )


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send a request and wait for its answer."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(LOOPBACK, self._port)
        began = time.perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].split(None, 1)[0])
        await self._reader.readexactly(length)
        answer = Answer(int(head[9:12]), time.perf_counter() - began)
        if b"connection: close" in lowered:
            self.close()
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def keep(name: str, figures: object) -> None:
    """Write the figures down for machines."""
    path = ROOT / ".run" / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
