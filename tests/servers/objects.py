"""An object store that speaks S3: OpenStack Swift, which looks at every signature."""

import getpass
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from runpy import run_path
from typing import Any, Final

import boto3  # type: ignore[import-untyped]  # it makes its methods as it is started
from botocore.config import Config  # type: ignore[import-untyped]

from tests.servers.server import Missing, Server, folder
from tools import web
from tools.locks import ROOT
from tools.processes import LOOPBACK, free_port

REGION: Final = "us-east-1"
"""What Swift takes signatures for, unless it is told otherwise."""

_PYTHON: Final = Path("/usr/bin/python3")
_PROGRAM: Final = Path("/usr/lib/python3/dist-packages/swift")
_STARTER: Final = Path(__file__).with_name("run_swift.py")
_OK: Final = 200
_SWIFT: Final = """
[swift-hash]
swift_hash_path_prefix = {salt}
"""
_ALL: Final = """
[DEFAULT]
bind_ip = {host}
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
# In the process that is started, not in one for each core.
workers = 0
log_level = WARNING
"""
_STORAGE: Final = """
[pipeline:main]
pipeline = healthcheck {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
[filter:healthcheck]
use = egg:swift#healthcheck
"""
_DEPLOYED: Final = run_path(str(ROOT / "deploy" / "objects" / "serve.py"))["PROXY"]
_PIPELINE: Final = str(_DEPLOYED).partition("[pipeline:main]\n")[2]
"""What a request goes through, as in the container: what is tested here is what is deployed."""
_CACHE: Final = "127.0.0.1:11211"
"""Where that has memcached, on which tempauth insists, and of which S3 needs no answer."""


class Objects(Server):
    """One with a single user, who may do everything."""

    key: Final = "matrix:synapse"

    def __init__(self, *, directory: Path) -> None:
        super().__init__(name="objects", directory=directory)
        self.secret = secrets.token_urlsafe(24)
        # In the name of everything on the disk.
        self._salt = secrets.token_hex(8)
        self._ports = {kind: free_port() for kind in ("account", "container", "object")}

    def command(self) -> list[str]:
        """See `Server`."""
        if not _PROGRAM.is_dir():
            raise Missing("Swift (python3-swift) is not installed")
        self._write("swift.conf", _SWIFT.format(salt=self._salt))
        for kind, port in self._ports.items():
            self._write(f"{kind}-server.conf", self._common(port) + _STORAGE.format(kind=kind))
        account, _, user = self.key.partition(":")
        assert _CACHE in _PIPELINE
        pipeline = _PIPELINE.replace(_CACHE, f"{LOOPBACK}:{free_port()}").format(
            account=account, user=user, secret=self.secret, region=REGION
        )
        proxy = f"{self._common(self.port)}[pipeline:main]\n{pipeline}"
        self._write("proxy-server.conf", proxy)
        (self.directory / "devices" / "disk").mkdir(parents=True, exist_ok=True)
        # Nothing of our environment, which is another Python's.
        return [str(_PYTHON), "-I", str(_STARTER), str(self.directory)]

    def answers(self) -> bool:
        """See `Server`."""
        try:
            return all(_is_well(port) for port in (*self._ports.values(), self.port))
        except (OSError, HTTPException):
            return False

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{LOOPBACK}:{self.port}"

    def client(self, *, secret: str | None = None) -> Any:
        """Return who speaks to it as Synapse's provider does, by default with the right secret."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.key,
            aws_secret_access_key=secret or self.secret,
            config=Config(
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"total_max_attempts": 1},
                connect_timeout=5,
                read_timeout=30,
            ),
        )

    def keys(self, bucket: str) -> set[str]:
        """Return the names of what is in a bucket, a thousand at most."""
        listed = self.client().list_objects_v2(Bucket=bucket)
        return {entry["Key"] for entry in listed.get("Contents", ())}

    def _common(self, port: int) -> str:
        return _ALL.format(host=LOOPBACK, port=port, user=getpass.getuser(), folder=self.directory)

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, encoding="utf-8")


@contextmanager
def objects() -> Iterator[Objects]:
    """Make one, started; it is gone afterwards.

    Raises:
        Missing: Swift is not installed.
    """
    with folder("objects") as directory:
        server = Objects(directory=directory)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _is_well(port: int) -> bool:
    return web.request("GET", f"http://{LOOPBACK}:{port}/healthcheck", timeout=2.0).status == _OK
