"""A worker beside Synapse's main process, and the Redis through which they hear of each other.

They need PostgreSQL (`postgres.py`) as well: on SQLite, Synapse tells no other process which of the
rows that it remembers have changed (`storage/databases/main/cache.py`).
"""

import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tools.files import write_private
from tools.processes import LOOPBACK, Process
from tools.synapse import SynapseConfig

_SERVERS: Final = ("valkey-server", "redis-server")
_PING_SECONDS: Final = 2.0


class NoRedis(Exception):
    """Neither Valkey nor Redis is installed."""


@dataclass(frozen=True, kw_only=True)
class Redis:
    """A Valkey or Redis on loopback that keeps nothing."""

    directory: Path
    port: int

    def process(self) -> Process:
        """Return the process, not yet started.

        Raises:
            NoRedis: there is none on this machine.
        """
        program = next(filter(None, map(shutil.which, _SERVERS)), None)
        if program is None:
            raise NoRedis("neither valkey-server nor redis-server is installed")
        return Process(
            name="Redis",
            command=[
                program,
                *("--bind", LOOPBACK, "--port", str(self.port)),
                *("--save", "", "--appendonly", "no", "--dir", str(self.directory)),
            ],
            log=self.directory / "redis.log",
        )

    def answers(self) -> bool:
        """Say whether it can be used."""
        with (
            suppress(OSError),
            socket.create_connection((LOOPBACK, self.port), _PING_SECONDS) as connection,
        ):
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False


def main_process_options(*, redis: Redis, replication_port: int) -> dict[str, object]:
    """Return what `homeserver.yaml` needs for workers; the listener comes beside the others."""
    return {
        "redis": {"enabled": True, "host": LOOPBACK, "port": redis.port},
        "instance_map": {"main": {"host": LOOPBACK, "port": replication_port}},
    }


def replication_listener(port: int) -> dict[str, object]:
    """Return the listener of the main process that workers send their writes to."""
    return {
        "type": "http",
        "port": port,
        "bind_addresses": [LOOPBACK],
        "resources": [{"names": ["replication"]}],
    }


@dataclass(frozen=True, kw_only=True)
class GenericWorker:
    """A process of the same homeserver that answers clients."""

    main: SynapseConfig
    name: str
    port: int

    @property
    def log(self) -> Path:
        """Where its log is."""
        return self.main.directory / f"{self.name}.log"

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"http://{LOOPBACK}:{self.port}"

    def write(self) -> Path:
        """Write its configuration file, which comes after `homeserver.yaml`."""
        path = self.main.directory / f"{self.name}.yaml"
        options = {
            "worker_app": "synapse.app.generic_worker",
            "worker_name": self.name,
            "worker_listeners": [
                {
                    "type": "http",
                    "port": self.port,
                    "bind_addresses": [LOOPBACK],
                    "resources": [{"names": ["client", "metrics"], "compress": False}],
                }
            ],
            "worker_log_config": str(self.main.directory / "log.yaml"),
        }
        write_private(path, yaml.safe_dump(options, sort_keys=False))
        return path

    def process(self) -> Process:
        """Return the process, not yet started."""
        return Process(
            name=f"Synapse's worker {self.name}",
            command=[
                *(self.main.python, "-m", "synapse.app.generic_worker"),
                *("-c", str(self.main.path), "-c", str(self.write())),
            ],
            log=self.log,
            health_url=f"{self.address}/health",
        )
