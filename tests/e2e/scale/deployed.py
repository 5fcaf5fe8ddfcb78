"""What `deploy/` says about Synapse and its workers, for processes instead of containers.

What a container finds in a place of its own (`/data`, port 8008) is somewhere else for each process
here. Only that is replaced, so that what is tested is what is shipped.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tools.files import write_private
from tools.processes import LOOPBACK, free_port

DEPLOY: Final = Path(__file__).parent.parent.parent.parent / "deploy"
KEYS: Final = "/secrets/synapse"
MAIN: Final = "main"
WORKERS: Final = ("generic-1", "generic-2", "media", "sender", "background")

_PLACES: Final = re.compile(r"""(?<![\w./])/(data|secrets|config)(?=[/"'\s]|$)""", re.MULTILINE)
_HTTP: Final = 8008
_LEFT: Final = re.compile(r"0\.0\.0\.0|synapse-|lalepass-\d|postgres-\d|(?<!\w)/(?:data|secrets)/")


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Where the parts are that are no processes of Synapse."""

    postgres: tuple[int, ...]
    """Ports of all servers of the database."""
    replication: int
    """The port of Synapse's own Redis."""
    lalepass: tuple[str, ...]
    """URLs of the replicas."""


class Deployed:
    """The files of a homeserver in a folder, one set for each of its processes."""

    def __init__(self, directory: Path, elsewhere: Elsewhere) -> None:
        self.directory = directory
        self._elsewhere = elsewhere
        self._ports: dict[tuple[str, int], int] = {}

    def port(self, process: str, inside: int = _HTTP) -> int:
        """Return where something is that is on the port `inside` in the process's container."""
        return self._ports.setdefault((process, inside), free_port())

    def place(self, path: str) -> Path:
        """Return where a file is that is at this path in the containers."""
        return Path(self._paths(path))

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Make keys and secrets as the stack does: with deploy/synapse/prepare.py."""
        for folder in ("/data", KEYS, "/config"):
            self.place(folder).mkdir(parents=True, exist_ok=True)
        for name in ("log.yaml", "scale.yaml"):
            text = self._text(MAIN, DEPLOY / "synapse" / name)
            self.place(f"/config/{name}").write_text(text, encoding="utf-8")
        subprocess.run(
            [sys.executable, "-c", self.program("prepare.py"), str(self.place(KEYS))],
            check=True,
            env=os.environ | dict(environment),
            timeout=60,
        )

    def program(self, name: str) -> str:
        """Return the text of a program of deploy/synapse."""
        return self._paths((DEPLOY / "synapse" / name).read_text(encoding="utf-8"))

    def files(self, process: str, **options: object) -> list[Path]:
        """Write what a process reads, in the order of the stack, and `options` after all of it."""
        names = ["homeserver.yaml", "scale.yaml"]
        names += [] if process == MAIN else [f"workers/{process}.yaml"]
        own = self.directory / process
        own.mkdir(exist_ok=True)
        found = []
        for name in names:
            path = own / Path(name).name
            write_private(path, self._text(process, DEPLOY / "synapse" / name))
            found.append(path)
        found.insert(2, self.place(f"{KEYS}/generated.yaml"))
        write_private(own / "of-the-tests.yaml", yaml.safe_dump(options))
        return [*found, own / "of-the-tests.yaml"]

    def app(self, process: str) -> str:
        """Return the module that the process is."""
        if process == MAIN:
            return "synapse.app.homeserver"
        text = (DEPLOY / "synapse" / "workers" / f"{process}.yaml").read_text(encoding="utf-8")
        return str(yaml.safe_load(text)["worker_app"])

    def _text(self, process: str, source: Path) -> str:
        content = yaml.safe_load(self._paths(source.read_text(encoding="utf-8")))
        text: str = yaml.safe_dump(self._moved(process, content))
        # homeserver.yaml is the small stack's, whose database and module scale.yaml replaces.
        if source.name != "homeserver.yaml" and (left := _LEFT.search(text)):
            raise AssertionError(f"{source} says {left[0]}, which nothing here stands for")
        return text

    def _paths(self, text: str) -> str:
        return _PLACES.sub(lambda found: f"{self.directory}/{found[1]}", text)

    def _moved(self, process: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._moved(process, entry) for entry in value]
        if not isinstance(value, dict):
            return value
        moved = {name: self._moved(process, entry) for name, entry in value.items()}
        return {**moved, **self._here(process, value)}

    def _here(self, process: str, value: Mapping[str, Any]) -> dict[str, object]:
        """Return what is to be in place of something, if that says where something is."""
        if "bind_addresses" in value:
            return {"bind_addresses": [LOOPBACK], "port": self.port(process, value["port"])}
        if "passfile" in value:
            return self._database()
        if "urls" in value:
            # Between processes of one machine, without certificates.
            return {"urls": list(self._elsewhere.lalepass), "tls": {}}
        if "host" in value:
            return {"host": LOOPBACK, "port": self._port_of(value["host"], value["port"])}
        return {}

    def _database(self) -> dict[str, object]:
        ports = self._elsewhere.postgres
        hosts = ",".join([LOOPBACK] * len(ports))
        return {"host": hosts, "port": ",".join(map(str, ports)), "sslmode": "disable"}

    def _port_of(self, host: str, inside: int) -> int:
        if host == "replication":
            return self._elsewhere.replication
        return self.port(host.removeprefix("synapse-"), inside)
