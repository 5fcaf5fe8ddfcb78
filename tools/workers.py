"""A worker beside Synapse's main process, and the Redis through which they hear of each other.

They need PostgreSQL as well: on SQLite, Synapse tells no other process which of the rows that it
remembers have changed (`storage/databases/main/cache.py`).
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.files import write_private
from tools.processes import LOOPBACK, Process
from tools.synapse import SynapseConfig


def main_process_options(*, redis_port: int, replication_port: int) -> dict[str, object]:
    """Return what `homeserver.yaml` needs for workers; the listener comes beside the others."""
    return {
        "redis": {"enabled": True, "host": LOOPBACK, "port": redis_port},
        "instance_map": {"main": {"host": LOOPBACK, "port": replication_port}},
    }


def database_options(*, port: int, user: str, name: str) -> dict[str, object]:
    """Return the `database` of `homeserver.yaml`: a PostgreSQL on loopback, without a password."""
    return {
        "name": "psycopg2",
        "args": {
            "host": LOOPBACK,
            "port": port,
            "user": user,
            "dbname": name,
            "cp_min": 1,
            "cp_max": 5,
        },
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
