"""Installations on a file, on PostgreSQL, and with Valkey: servers of their own, as tests have.

Their replicas sleep instead of hashing (`sleeping`). So what is measured is what is not the hash,
and replicas are not in each other's way on cores that one of them alone would fill.
"""

import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from bench.hashes import turn
from bench.load import ITERATIONS, MEMORY, PASSWORD, Running, fill, id_of, record
from lalepass_service.adapters.hashing.bindings import Sodium
from lalepass_service.adapters.keys import KeyDirectory, KeyVault
from lalepass_service.config import load
from tests.servers.family import family
from tests.servers.postgres import Database
from tests.servers.server import Server
from tests.servers.services import Settings, services
from tests.servers.valkey import Valkey
from tools.service import Service

PEOPLE: Final = 1000
MADE: Final = "2026-01-01T00:00:00.000000+00:00"
_MANY: Final = 1_000_000
_TURNS: Final = 5


def hash_seconds() -> float:
    """Return the processor time of one hash: what it takes on a core to itself."""
    sodium, password = Sodium(), PASSWORD.encode()
    phc = sodium.make(password, memory_kib=MEMORY // 1024, iterations=ITERATIONS)
    return (
        statistics.median(turn(lambda: sodium.verify(password, phc=phc)) for _ in range(_TURNS))
        / 1e3
    )


def settings_of(
    *, database: Database | None = None, valkey: Valkey | None = None, replicas: int = 1
) -> Settings:
    """Return how a service is set up: one hash at a time, and more than one homeserver may ask."""
    found: dict[str, Mapping[str, object]] = {
        "hashing": {"threads": 1},
        "log": {"level": "warning"},
        "throttle": {
            "caller_per_second": _MANY,
            "caller_burst": _MANY,
            "source_per_minute": _MANY,
            "source_burst": _MANY,
        },
    }
    if database is not None:
        found |= database.settings
    if valkey is not None:
        found["valkey"] = {"url": valkey.new_url(), "replicas": replicas}
    return found


@contextmanager
def site(
    directory: Path,
    settings: Settings,
    *,
    database: Database | None,
    seconds: float,
    replicas: int = 1,
) -> Iterator[list[Running]]:
    """Start replicas that have PEOPLE, as `load.fill` makes them.

    Args:
        directory: an empty one.
        settings: of `settings_of`.
        database: the one in the settings, if any.
        seconds: how long they sleep for a hash.
        replicas: how many.
    """
    directory.mkdir()
    program = ("bench.sleeping", str(seconds))
    with services(directory, count=replicas, settings=settings, people={}, program=program) as made:
        folder = directory / "lalepass"
        if database is None:
            fill(folder, PEOPLE)
        else:
            fill_server(database, folder)
        yield [
            Running(Service(directory=folder, port=replica.port), _pid(replica), made.token)
            for replica in made.replicas
        ]


def fill_server(database: Database, folder: Path) -> None:
    """Put PEOPLE into a database on a server, wrapped with the keys of this installation."""
    phc, vault = record().decode(), KeyVault(KeyDirectory(_keys(folder)))
    with (
        psycopg.connect(database.url, password=database.server.password) as connection,
        connection.cursor() as cursor,
    ):
        with cursor.copy("COPY users (id, localpart, state, admin, created_at) FROM STDIN") as rows:
            for number in range(PEOPLE):
                rows.write_row((id_of(number), f"u{number}", "active", False, MADE))
        with cursor.copy("COPY passwords (user_id, phc, key_id, changed_at) FROM STDIN") as rows:
            for number in range(PEOPLE):
                owner = id_of(number)
                rows.write_row((owner, *vault.seal(phc, user_id=owner), MADE))
    # What a server does by itself a minute later.
    database.sql("VACUUM (ANALYZE) users, passwords")


def cpu_seconds(server: Server) -> float:
    """Return the processor time that all processes of a server have used so far."""
    threads = (
        thread
        for pid in family(_pid(server))
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat")
    )
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _pid(server: Server) -> int:
    if server.pid is None:
        raise RuntimeError(f"{server.name} has ended")
    return server.pid


def _keys(folder: Path) -> Path:
    keys = load(folder / "lalepass.toml").keys.directory
    if keys is None:
        raise RuntimeError("the installation has no keys")
    return Path(keys)
