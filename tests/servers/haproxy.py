"""An HAProxy in front of several replicas of a service, which asks them whether they are ready."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lalepass_wire import paths
from tests.servers.server import Server, folder, program
from tools.processes import LOOPBACK

_SECONDS: Final = 2.0
_CHECKS_MS: Final = 100
"""Between two questions to a replica. What is not ready gets nothing new after the next one."""

# A request is tried a second time only where it can't have arrived: `retry-on conn-failure`, which
# is what it does unless told otherwise.
_CONFIGURATION: Final = """
global
    stats socket {socket} mode 600 level user
    maxconn 2000
defaults
    mode http
    timeout connect 1s
    timeout check 2s
    timeout client 120s
    timeout server 120s
    timeout queue 2s
    retries 3
    option redispatch
frontend callers
    bind {host}:{port}
    default_backend replicas
backend replicas
    balance roundrobin
    option httpchk GET {ready}
    http-check expect status 200
    default-server inter {checks}ms fall 1 rise 1
{servers}
"""


class HaProxy(Server):
    """One that gives each request to the next replica that is ready."""

    def __init__(self, *, directory: Path, targets: Sequence[int]) -> None:
        super().__init__(name="haproxy", directory=directory)
        self._targets = tuple(targets)

    def command(self) -> list[str]:
        """See `Server`."""
        configuration = self.directory / "haproxy.cfg"
        servers = [f"    server {port} {LOOPBACK}:{port} check" for port in self._targets]
        text = _CONFIGURATION.format(
            socket=self._socket,
            host=LOOPBACK,
            port=self.port,
            ready=paths.HEALTH_READY,
            checks=_CHECKS_MS,
            servers="\n".join(servers),
        )
        configuration.write_text(text, encoding="utf-8")
        return [program("haproxy"), "-db", "-f", str(configuration)]

    def answers(self) -> bool:
        """See `Server`. It is ready when all replicas were looked at, be they ready or not."""
        try:
            return "INI" not in "".join(self._checks().values())
        except OSError:
            return False

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{LOOPBACK}:{self.port}"

    def ready(self) -> set[int]:
        """Return the ports of the replicas that get requests now."""
        return {int(port) for port, check in self._checks().items() if check.startswith("L7OK")}

    @property
    def _socket(self) -> Path:
        return self.directory / "socket"

    def _checks(self) -> dict[str, str]:
        """Return what the last look at each replica came to: management.txt, `check_status`."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(self._socket))
            connection.sendall(b"show stat\n")
            with connection.makefile("r", encoding="utf-8") as answer:
                names = answer.readline().removeprefix("# ").strip().split(",")
                rows = [dict(zip(names, line.split(","), strict=False)) for line in answer]
        servers = {str(port) for port in self._targets}
        return {r["svname"]: r["check_status"] for r in rows if r.get("svname") in servers}


@contextmanager
def haproxy(targets: Sequence[int]) -> Iterator[HaProxy]:
    """Make one, started; it is gone afterwards.

    Raises:
        Missing: HAProxy is not installed.
    """
    with folder("haproxy") as directory:
        balancer = HaProxy(directory=directory, targets=targets)
        try:
            balancer.start()
            yield balancer
        finally:
            balancer.kill()
