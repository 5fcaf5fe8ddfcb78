"""Runs Swift's four servers and their cache as one: when one ends, all end, and are started anew.

    serve.py          makes what is missing, serves, and makes the bucket
    serve.py health   succeeds while S3 answers and the bucket is there

Reads S3_BUCKET, AWS_DEFAULT_REGION and AWS_SHARED_CREDENTIALS_FILE, as Synapse does: the key that
is in the file is the only one that is let in. Writes /srv/node, which is to be kept, and
/run/objects.
"""

import configparser
import datetime as dt
import hashlib
import hmac
import http.client
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

KEPT = Path("/srv/node")
RUN = Path("/run/objects")
READY_WITHIN = 60.0
STOPPED_WITHIN = 15.0
BUCKET = os.environ.get("S3_BUCKET") or "matrix-media"
REGION = os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"

OK = 200
CONFLICT = 409
"""The bucket is there."""

# Where names are hashed with it, files can be put where others lie only by who knows it.
SWIFT = """\
[swift-hash]
swift_hash_path_suffix = {suffix}
[storage-policy:0]
name = one
default = yes
"""
SERVER = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = objects
devices = /srv/node
mount_check = false
workers = 0
log_level = WARNING
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
# s3api comes before whoever knows the keys; slo puts uploads in parts together.
PROXY = """\
[DEFAULT]
bind_ip = 0.0.0.0
bind_port = 8080
user = objects
workers = 0
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth slo dlo \
versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:11211
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
"""
PORTS = {"account": 6202, "container": 6201, "object": 6200}
MODULES = {"account": "account", "container": "container", "object": "obj", "proxy": "proxy"}


def main() -> int:
    """Serve until a signal or the end of one of the servers; return the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    key, secret = credentials()
    write_configuration(key, secret)
    servers = {name: _start(_command(name)) for name in MODULES}
    servers["cache"] = _start(["memcached", "-l", "127.0.0.1", "-U", "0", "-m", "32"])
    try:
        make_bucket(key, secret)
        while all(server.poll() is None for server in servers.values()):
            time.sleep(0.5)
        over = [name for name, server in servers.items() if server.poll() is not None]
        print(f"objects: ended by itself: {', '.join(over)}", file=sys.stderr)
        return 1
    finally:
        _end(list(servers.values()))


def _stop(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _command(name: str) -> list[str]:
    # --verbose: to the standard error, since there is no syslog here.
    configuration = str(RUN / f"{name}-server.conf")
    return [sys.executable, "-m", f"swift.{MODULES[name]}.server", configuration, "--verbose"]


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _end(servers: "list[subprocess.Popen[bytes]]") -> None:
    for server in servers:
        server.terminate()
    end = time.monotonic() + STOPPED_WITHIN
    for server in servers:
        try:
            server.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            server.kill()


def credentials() -> tuple[str, str]:
    """Return the key and its secret from the file that Amazon's programs read."""
    path = os.environ["AWS_SHARED_CREDENTIALS_FILE"]
    file = configparser.ConfigParser(interpolation=None)
    file.read_string(Path(path).read_text())
    own = file["default"]
    key = own["aws_access_key_id"]
    if key.count(":") != 1:
        sys.exit(f"objects: the key in {path} is not of the form account:user")
    return key, own["aws_secret_access_key"]


def write_configuration(key: str, secret: str) -> None:
    """Write what the servers read; RUN is gone when the container is."""
    os.umask(0o077)
    (KEPT / "disk").mkdir(exist_ok=True)
    suffix = KEPT / "suffix"
    if not suffix.exists():
        new = suffix.with_name(".suffix.new")
        new.write_text(secrets.token_hex(16))
        new.replace(suffix)
    (RUN / "swift.conf").write_text(SWIFT.format(suffix=suffix.read_text()))
    for name, port in PORTS.items():
        (RUN / f"{name}-server.conf").write_text(SERVER.format(name=name, port=port))
    account, user = key.split(":")
    proxy = PROXY.format(account=account, user=user, secret=secret, region=REGION)
    (RUN / "proxy-server.conf").write_text(proxy)


def make_bucket(key: str, secret: str) -> None:
    """Make the bucket as soon as S3 answers. It may be there."""
    end = time.monotonic() + READY_WITHIN
    while True:
        said = ask("PUT", key, secret)
        if said in {OK, CONFLICT}:
            return
        if time.monotonic() > end:
            sys.exit(f"objects: no bucket within {READY_WITHIN} s, the last answer was {said}")
        time.sleep(0.5)


def ask(method: str, key: str, secret: str) -> int:
    """Send a signed request about the bucket and return the status, or 0 for no answer.

    The signature is version 4 of Amazon's, for a request without a body.
    """
    now = dt.datetime.now(dt.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": "127.0.0.1:8080", "x-amz-content-sha256": empty, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"{method}\n/{BUCKET}\n\n{lines}\n{names}\n{empty}"
    scope = f"{day}/{REGION}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signature = hmac.digest(signing, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=4)
    try:
        connection.request(method, f"/{BUCKET}", headers=headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["health"]:
        sys.exit(ask("HEAD", *credentials()) != OK)
    sys.exit(main())
