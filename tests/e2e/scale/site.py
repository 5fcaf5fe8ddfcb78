"""All at once: PostgreSQL and Lalepass twice, six processes of Synapse, Redis, S3, a proxy."""

import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.parts import SERVER_NAME, Address
from tests.e2e.scale.deployed import MAIN, WORKERS, Deployed, Elsewhere
from tests.e2e.scale.processes import Proxy, Synapse
from tests.e2e.waiting import until
from tests.servers.objects import REGION, Objects
from tests.servers.pair import Pair, pair
from tests.servers.psql import ROLE, quoted
from tests.servers.server import Server, folder
from tests.servers.services import Services, services
from tests.servers.valkey import Valkey
from tools.files import write_private
from tools.processes import LOOPBACK

GENERIC: Final = ("generic-1", "generic-2")
ANSWERING: Final = (MAIN, *GENERIC)
"""Who answers for people's sessions."""
BUCKET: Final = "matrix-media"
"""As in deploy/synapse/scale.yaml."""
PLENTY: Final = {"per_second": 1000, "burst_count": 1000}
_DATABASE: Final = "synapse"
_START_SECONDS: Final = 240.0
_OPTIONS: Final[Mapping[str, object]] = {
    "rc_login": {"address": PLENTY, "account": PLENTY, "failed_attempts": PLENTY},
    "rc_message": PLENTY,
    # Others servers are on this machine, and nobody has signed their certificates.
    "federation_ip_range_blacklist": [],
    "federation_verify_certificates": False,
}


@dataclass
class Chat:
    """A homeserver with all that belongs to it."""

    directory: Path
    pair: Pair
    lalepass: Services
    objects: Objects
    deployed: Deployed
    synapse: dict[str, Synapse]
    proxy: Proxy
    valkeys: Mapping[str, Valkey]
    """What Lalepass counts in (`counters`), and Synapse's own (`redis`)."""

    @property
    def door(self) -> Address:
        """Where people reach it."""
        return Address(self.proxy.url)

    def at(self, process: str) -> Address:
        """Return one of its processes, without the proxy."""
        return Address(f"http://{LOOPBACK}:{self.synapse[process].port}")

    def pids(self) -> dict[str, int | None]:
        """Return the process of each part that shall go on whatever becomes of the others."""
        return {part.name: part.pid for part in (*self.synapse.values(), *self.lalepass.replicas)}

    def wait_until_well(self) -> None:
        """Have the proxy lead to all of them again."""
        until(lambda: self.proxy.well() == {*ANSWERING, "media"}, what="the proxy knows all")

    def sql(self, query: str) -> list[str]:
        """Ask Synapse's database; return its rows as text."""
        return self.pair.primary.sql(query, database=_DATABASE).splitlines()


@contextmanager
def chat(people: Mapping[str, str]) -> Iterator[Chat]:
    """Make one, started, with these people and their passwords; it is gone afterwards.

    Raises:
        Missing: PostgreSQL, Valkey, HAProxy or Swift is not installed.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(folder("chat"))
        # Nobody needs it soon, so it starts beside all that others wait for.
        store = Objects(directory=stack.enter_context(folder("objects")))
        _start(stack, store)
        counters, redis = (_valkey(stack, directory, name) for name in ("counters", "redis"))
        servers = stack.enter_context(pair())
        servers.primary.require_standby(servers.standby)
        lalepass = stack.enter_context(
            services(
                directory, count=2, settings=_settings(directory, servers, counters), people=people
            )
        )
        elsewhere = Elsewhere(
            postgres=tuple(server.port for server in servers.both),
            replication=redis.port,
            lalepass=tuple(replica.url for replica in lalepass.replicas),
        )
        deployed = Deployed(directory / "homeserver", elsewhere)
        _prepare(deployed, servers, redis.password, lalepass.token)
        environment = _for_s3(directory, store)
        synapse = {
            name: Synapse(deployed, name, environment=environment, options=_OPTIONS)
            for name in (MAIN, *WORKERS)
        }
        proxy = Proxy(deployed)
        # The main process makes the tables, without which workers do not start.
        _start(stack, synapse[MAIN], proxy)
        store.wait_until_ready()
        store.client().create_bucket(Bucket=BUCKET)
        synapse[MAIN].wait_until_ready(_START_SECONDS)
        _run(deployed, "media_rights.py")
        workers = [synapse[name] for name in WORKERS]
        _start(stack, *workers)
        for worker in workers:
            worker.wait_until_ready(_START_SECONDS)
        valkeys = {"counters": counters, "redis": redis}
        yield Chat(directory, servers, lalepass, store, deployed, synapse, proxy, valkeys)


def _start(stack: ExitStack, *servers: Server) -> None:
    """Start them all at once, and wait for none."""
    for server in servers:
        stack.callback(server.kill)
        server.start(wait=False)


def _settings(directory: Path, servers: Pair, counters: Valkey) -> dict[str, dict[str, object]]:
    """Return those of Lalepass, with a database of its own."""
    database = servers.create_database().name
    # or nothing is read from the standby: docs/postgresql.md
    servers.primary.sql(f"GRANT pg_read_all_stats TO {ROLE}")
    password_path = directory / "counters-password"
    write_private(password_path, counters.password)
    replica_url = servers.url(database, options={})
    return {
        "database": {**servers.settings(database)["database"], "replica_url": replica_url},
        "valkey": {"url": counters.url, "password_path": str(password_path), "replicas": 2},
        # A thread for each core is for a machine of one's own.
        "hashing": {"threads": 1},
        # A command takes half as long without.
        "passwords": {"builtin_blocklist": False},
    }


def _valkey(stack: ExitStack, directory: Path, name: str) -> Valkey:
    server = Valkey(directory=directory, name=name, password=secrets.token_urlsafe(24))
    _start(stack, server)
    return server


def _prepare(deployed: Deployed, servers: Pair, redis_password: str, token: str) -> None:
    """Make Synapse's database, and the files that it finds before its first start."""
    password, of_media = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    servers.primary.sql(
        f"CREATE ROLE {_DATABASE} LOGIN PASSWORD {quoted(password)};\n"
        f"CREATE ROLE media LOGIN PASSWORD {quoted(of_media)};\n"
        f"CREATE DATABASE {_DATABASE} OWNER {_DATABASE};"
    )
    for path, text in (
        ("/secrets/database/password", password),
        ("/secrets/media/password", of_media),
        ("/secrets/replication/password", redis_password),
        ("/secrets/homeserver/token", token),
    ):
        deployed.place(path).parent.mkdir(parents=True, exist_ok=True)
        write_private(deployed.place(path), text)
    deployed.prepare({"SYNAPSE_SERVER_NAME": SERVER_NAME})


def _run(deployed: Deployed, program: str) -> None:
    """Run a program of deploy/synapse, as a container that does nothing else."""
    command = [sys.executable, "-c", deployed.program(program)]
    subprocess.run(command, check=True, timeout=60)


def _for_s3(directory: Path, store: Objects) -> Mapping[str, str]:
    """Return the environment by which Synapse finds S3."""
    file = directory / "s3-credentials"
    keys = f"aws_access_key_id = {store.key}\naws_secret_access_key = {store.secret}\n"
    write_private(file, f"[default]\n{keys}")
    return {
        "AWS_ENDPOINT_URL_S3": store.url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
    }
