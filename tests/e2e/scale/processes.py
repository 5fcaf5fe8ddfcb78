"""Processes of Synapse, and the proxy in front of them."""

from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Final

from tests.e2e.conftest import SYNAPSE
from tests.e2e.scale.deployed import DEPLOY, MAIN, Deployed
from tests.servers.server import Server, program
from tools import web
from tools.processes import LOOPBACK, free_port

_OK: Final = 200
_BEHIND: Final = (MAIN, "generic-1", "generic-2", "media")
"""The processes that the proxy leads to."""


class Synapse(Server):
    """The main process or a worker."""

    def __init__(
        self,
        deployed: Deployed,
        process: str,
        *,
        environment: Mapping[str, str],
        options: Mapping[str, object],
    ) -> None:
        super().__init__(name=process, directory=deployed.directory, port=deployed.port(process))
        self._deployed = deployed
        self._environment = environment
        self.options = dict(options)
        """What is on top of the files of `deploy/` from its next start on."""

    def command(self) -> Sequence[str]:
        """See `Server`."""
        files = self._deployed.files(self.name, **self.options)
        given = (part for path in files for part in ("-c", str(path)))
        return [SYNAPSE, "-m", self._deployed.app(self.name), *given]

    def environment(self) -> Mapping[str, str]:
        """See `Server`."""
        return {**super().environment(), **self._environment}

    def answers(self) -> bool:
        """See `Server`."""
        return _is_well(f"http://{LOOPBACK}:{self.port}/health")


class Proxy(Server):
    """An HAProxy with the file of the stack, which gets all addresses from its environment."""

    def __init__(self, deployed: Deployed) -> None:
        super().__init__(name="proxy", directory=deployed.directory)
        self._deployed = deployed
        self._metrics = free_port()

    def command(self) -> Sequence[str]:
        """See `Server`."""
        return [program("haproxy"), "-db", "-f", str(DEPLOY / "scale" / "haproxy.cfg")]

    def environment(self) -> Mapping[str, str]:
        """See `Server`."""
        behind = {
            name.upper().replace("-", "_"): f"{LOOPBACK}:{self._deployed.port(name)}"
            for name in _BEHIND
        }
        doors = {"LISTEN": self.port, "METRICS": self._metrics}
        doors_here = {name: f"{LOOPBACK}:{port}" for name, port in doors.items()}
        return {**super().environment(), **behind, **doors_here}

    def answers(self) -> bool:
        """See `Server`."""
        return _is_well(f"{self.url}/proxy/health")

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://{LOOPBACK}:{self.port}"

    def well(self) -> set[str]:
        """Return the processes that get requests now."""
        text = web.request("GET", f"http://{LOOPBACK}:{self._metrics}/metrics").body.decode()
        up = [f'server="{name}",state="UP"}} 1' for name in _BEHIND]
        lines = [line for line in text.splitlines() if line.startswith("haproxy_server_status{")]
        return {
            name
            for name, ending in zip(_BEHIND, up, strict=True)
            if any(line.endswith(ending) for line in lines)
        }

    def mark(self) -> int:
        """Return the length of its log, for `answered`."""
        return self.log.stat().st_size

    def answered(self, method: str, path: str, *, since: int) -> list[str]:
        """Return which processes have answered such requests since the mark, in their order."""
        text = self.log.read_bytes()[since:].decode()
        asked = f" {method} {path} "
        # "ADDRESS BACKEND/SERVER STATUS METHOD PATH ..."
        lines = (line.split() for line in text.splitlines() if asked in line)
        return [line[1].partition("/")[2] for line in lines]


def _is_well(url: str) -> bool:
    try:
        return web.request("GET", url, timeout=2.0).status == _OK
    except (OSError, HTTPException):
        return False
