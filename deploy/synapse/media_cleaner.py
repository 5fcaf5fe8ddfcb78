"""Brings files of Synapse to S3, and deletes old ones from its disk.

    media_cleaner.py nightly     at the hour MEDIA_CLEAN_HOUR (UTC), for as long as it runs
    media_cleaner.py now [AGE]   once; AGE such as 60d or 0s, in place of MEDIA_KEEP

What could not be stored when it came is uploaded. Where a file has another size there than here,
the one goes whose length is not what Synapse has written down: a process that was killed leaves
half a file. Then `s3_media_upload`, of the storage provider, deletes what nobody has opened for
MEDIA_KEEP. It believes that whatever has the right name is the right file.

Reads S3_BUCKET and, as everything of Amazon's does, AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION and
AWS_SHARED_CREDENTIALS_FILE. In the database it is a role of its own, which media_rights.py lets
read two tables.

Each night it tells Prometheus, on port 9000, whether S3 answers and when it was last done.
"""

import contextlib
import datetime as dt
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import psycopg2
import yaml
from prometheus_client import CollectorRegistry, Gauge, start_http_server

MEDIA = Path("/data/media")
LISTS = Path("/data")
DONE = "media-cleaner.done"
"""In LISTS; as old as the last clean-up that was done, whoever has begun it."""
METRICS = 9000
"""A port, of the nightly one."""
SCALE = Path("/config/scale.yaml")
"""Where this reads how to reach PostgreSQL."""
ROLE = "media"
SECRETS = Path("/secrets/media")
"""The role's password, and the authority that signs PostgreSQL's certificates."""
FOLDERS = ("local_content", "local_thumbnails", "remote_content", "remote_thumbnail")
LOOKED = Path("/tmp/looked")  # noqa: S108 - a tmpfs of this container; its health check reads it
BUCKET = os.environ.get("S3_BUCKET") or "matrix-media"
KEEP = os.environ.get("MEDIA_KEEP") or "60d"
SETTLED = 60.0
"""Seconds after which nobody writes to a file any more."""
AGAIN_AFTER = 3600.0
NOT_FOUND = "404"
LOOK_EACH = 30.0
"""Seconds between two looks at S3."""


def main(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit code."""
    # Whoever is process 1 is stopped by nothing that it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    match arguments:
        case ["nightly"]:
            return nightly()
        case ["now"]:
            return clean(KEEP)
        case ["now", age]:
            return clean(age)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


def nightly() -> int:
    """Clean each night; after a failure, an hour later."""
    hour = int(os.environ.get("MEDIA_CLEAN_HOUR") or 3)
    LOOKED.touch()
    wait = until(hour)
    with telling(METRICS):
        while True:
            time.sleep(wait)
            # In a process of its own: whatever it dies of, there is another night.
            failed = subprocess.run([sys.executable, __file__, "now"], check=False).returncode
            if not failed:
                LOOKED.touch()
            wait = AGAIN_AFTER if failed else until(hour)


@contextlib.contextmanager
def telling(port: int) -> Iterator[None]:
    """Give figures to Prometheus meanwhile."""
    done = LISTS / DONE
    if not done.exists():
        # Nothing is late yet; from here on, a restart does not make it any younger.
        done.touch()
    told = CollectorRegistry()
    Gauge(
        "media_cleaner_done_timestamp_seconds",
        "When media were last brought to S3 and old ones deleted here, all of it",
        registry=told,
    ).set_function(lambda: done.stat().st_mtime)
    up = Gauge("media_store_up", "1 while S3 answers and has the bucket", registry=told)
    up.set(store_answers())
    server, _ = start_http_server(port, registry=told)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_EACH):
            up.set(store_answers())

    # Daemons: nobody waits at the end for an S3 that says nothing.
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def store_answers() -> bool:
    """Say whether S3 answers, lets this one in and has the bucket."""
    soon = botocore.config.Config(
        connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1}
    )
    try:
        # A new one reads a key anew that was replaced.
        boto3.client("s3", config=soon).head_bucket(Bucket=BUCKET)
    except Exception as failed:  # noqa: BLE001 - whatever it is, nobody gets files there
        print(f"media-cleaner: S3 does not answer: {failed}", file=sys.stderr, flush=True)
        return False
    return True


def until(hour: int) -> float:
    """Return the seconds until it is that hour again."""
    now = dt.datetime.now(dt.UTC)
    then = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    if then <= now:
        then += dt.timedelta(days=1)
    return (then - now).total_seconds()


def clean(age: str) -> int:
    """Upload what is missing, then delete what is older; return the exit code.

    One at a time: a second one ends at once.
    """
    with (LISTS / "media-cleaner.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("media-cleaner: another one is at work", file=sys.stderr)
            return 1
        count = bring_up()
        print(f"media-cleaner: brought {count} files to S3", flush=True)
        failed = delete(age)
        if not failed:
            (LISTS / DONE).touch()
        return failed


def bring_up() -> int:
    """Upload each file that S3 lacks, or has half of; return how many."""
    s3 = boto3.client("s3")
    count = 0
    for path, size in files():
        key = str(path.relative_to(MEDIA))
        there = size_there(s3, key)
        if there == size:
            continue
        # May be gone meanwhile: people delete what they have sent.
        with contextlib.suppress(FileNotFoundError):
            if there is None or is_right(path, key, size=size, there=there):
                s3.upload_file(str(path), BUCKET, key)
                count += 1
    return count


def is_right(path: Path, key: str, *, size: int, there: int) -> bool:
    """Say whether the file here is to take the place of another one there.

    If it is the one there that is right, this one goes: Synapse gets the other when it is opened.
    """
    right = length_of(key)
    if right in {size, there}:
        if right == there:
            path.unlink()
            print(f"media-cleaner: {key} was broken here and is whole in S3", flush=True)
        return right == size
    # A thumbnail, or both are broken: nobody knows, and of what is broken the longer has more.
    kept = "here" if size > there else "S3"
    print(f"media-cleaner: {key}: {size} bytes here, {there} in S3; kept: {kept}", flush=True)
    return size > there


def length_of(key: str) -> int | None:
    """Return how long Synapse says that a file is, if it does."""
    match key.split("/"):
        case ["local_content", one, two, rest]:
            query = "SELECT media_length FROM local_media_repository WHERE media_id = %s"
            named = (one + two + rest,)
        case ["remote_content", server, one, two, rest]:
            query = (
                "SELECT media_length FROM remote_media_cache"
                " WHERE media_origin = %s AND filesystem_id = %s"
            )
            named = (server, one + two + rest)
        case _:
            return None
    connected = contextlib.closing(psycopg2.connect(**database()))
    with connected as connection, connection.cursor() as rows:
        rows.execute(query, named)
        row = rows.fetchone()
    return None if row is None else row[0]


def database() -> dict[str, Any]:
    """Return how to reach PostgreSQL, as Synapse does but for who this is there."""
    given = yaml.safe_load(SCALE.read_text())["database"]["args"]
    # Of the rest, some is for Synapse's pool, and some is how Synapse gets in.
    options = {
        name: given[name] for name in given if not name.startswith("cp_") and name != "passfile"
    }
    if "sslrootcert" in options:
        options["sslrootcert"] = str(SECRETS / "ca.crt")
    return options | {"user": ROLE, "password": (SECRETS / "password").read_text()}


@contextlib.contextmanager
def configuration() -> Iterator[Path]:
    """Make the file in which `s3_media_upload` reads the same; it is in memory, and then gone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "database-of-synapse.yaml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump({"database": {"name": "psycopg2", "args": database()}}))
        yield path


def files() -> Iterator[tuple[Path, int]]:
    """Yield Synapse's files with their sizes, but for those that it may be writing."""
    for folder in FOLDERS:
        for path in sorted((MEDIA / folder).rglob("*")):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file() and time.time() - facts.st_mtime >= SETTLED:
                yield path, facts.st_size


def size_there(s3: Any, key: str) -> int | None:  # noqa: ANN401 - boto3 makes its classes as it runs
    """Return how long an object is, or None if there is none."""
    try:
        return int(s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"])
    except botocore.exceptions.ClientError as failed:
        if failed.response["Error"]["Code"] == NOT_FOUND:
            return None
        raise


def delete(age: str) -> int:
    """Delete what is in S3 and was last opened longer ago than `age`; return the exit code.

    The list of `s3_media_upload` only grows, and it never looks again at what it has deleted once:
    so each run has a fresh one.
    """
    folder = Path(tempfile.mkdtemp(prefix="media-list-", dir=LISTS))
    media = str(MEDIA)
    try:
        with configuration() as file:
            for arguments in (
                ["update", media, age, "--homeserver-config-path", str(file)],
                ["upload", media, BUCKET, "--delete"],
            ):
                command = ["s3_media_upload", "--no-progress", *arguments]
                failed = subprocess.run(command, cwd=folder, check=False).returncode
                if failed:
                    return failed
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
