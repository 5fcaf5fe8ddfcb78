"""What deploy/synapse runs before Synapse, and beside it each night."""

import fcntl
import importlib.util
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3  # type: ignore[import-untyped]  # it makes its methods as it is started
import pytest
import yaml

from tests.servers.fixtures import left_out_if_missing
from tests.servers.objects import REGION, Objects, objects
from tools.processes import free_port
from tools.web import request

DEPLOY = Path(__file__).parent.parent / "deploy" / "synapse"
BUCKET = "files"


def module(name: str) -> ModuleType:
    """Load one of the scripts, which are in no package."""
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def prepare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., dict[str, Any]]]:
    script = module("prepare")
    (tmp_path / "password").write_text("s3cret")
    places = {
        "DATA": tmp_path,
        "PASSWORD": tmp_path / "password",
        "SCALE": DEPLOY / "scale.yaml",
        "REPLICATION_PASSWORD": tmp_path / "replication" / "password",
        "STORAGE_KEY": tmp_path / "objects" / "credentials",
    }
    for name, path in places.items():
        monkeypatch.setattr(script, name, path)
    umask = os.umask(0o022)

    def run(*arguments: str, **environment: str) -> dict[str, Any]:
        for name in ("SYNAPSE_SERVER_NAME", "SYNAPSE_PUBLIC_BASEURL", "S3_BUCKET"):
            monkeypatch.setenv(name, environment.get(name, ""))
        script.main(list(arguments))
        keys = Path(arguments[0]) if arguments and len(arguments) == 1 else tmp_path
        generated = yaml.safe_load((keys / "generated.yaml").read_text())
        assert isinstance(generated, dict)
        return generated

    yield run
    os.umask(umask)


def test_it_makes_what_is_missing_once(prepare: Callable[..., Any], tmp_path: Path) -> None:
    assert prepare(SYNAPSE_SERVER_NAME="x.org") == {
        "server_name": "x.org",
        "public_baseurl": "https://x.org/",
    }
    made = {path: path.read_bytes() for path in tmp_path.iterdir()}
    names = {path.name for path in made}
    assert {"worker_replication_secret", "signing.key", "macaroon_secret", "pgpass"} <= names
    # These two are in volumes of their own, in the profile scale only.
    assert names.isdisjoint({"replication", "objects"})

    prepare(SYNAPSE_SERVER_NAME="x.org")

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == made


def test_it_makes_what_others_read_for_the_group(
    prepare: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("replication", "objects"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.parent == tmp_path)

    prepare(SYNAPSE_SERVER_NAME="x.org")

    password, key = tmp_path / "replication" / "password", tmp_path / "objects" / "credentials"
    assert [path.stat().st_mode & 0o777 for path in (password, key)] == [0o640, 0o640]
    assert len(password.read_text()) >= 32
    assert key.read_text().startswith("[default]\naws_access_key_id = media:synapse\n")
    before = password.read_text(), key.read_text()
    prepare(SYNAPSE_SERVER_NAME="x.org")
    assert (password.read_text(), key.read_text()) == before


def test_another_bucket_is_that_of_the_stack_by_another_name(prepare: Callable[..., Any]) -> None:
    generated = prepare(SYNAPSE_SERVER_NAME="x.org", S3_BUCKET="ours")

    (provider,) = generated["media_storage_providers"]
    (shipped,) = yaml.safe_load((DEPLOY / "scale.yaml").read_text())["media_storage_providers"]
    assert provider == {**shipped, "config": {**shipped["config"], "bucket": "ours"}}


def test_a_homeserver_keeps_its_name(prepare: Callable[..., Any]) -> None:
    prepare(SYNAPSE_SERVER_NAME="x.org")

    with pytest.raises(SystemExit, match=r"this homeserver is x\.org and can't become y\.org"):
        prepare(SYNAPSE_SERVER_NAME="y.org")


KEYS = ("signing.key", "macaroon_secret", "worker_replication_secret", "pgpass")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Where the profile `scale` has them."""
    folder = tmp_path / "synapse"
    folder.mkdir()
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_keys_go_where_no_media_are_and_none_are_left_behind(
    prepare: Callable[..., Any], tmp_path: Path, keys: Path
) -> None:
    small = prepare(SYNAPSE_SERVER_NAME="x.org")
    put(tmp_path, "local_content/aa/bb/cc", b"a picture")
    before = files(tmp_path)

    assert prepare(str(keys), SYNAPSE_SERVER_NAME="x.org") == small

    assert {name: before[name] for name in KEYS} == {name: files(keys)[name] for name in KEYS}
    assert {path.stat().st_mode & 0o777 for path in keys.iterdir()} == {0o600}
    assert set(files(tmp_path)) == {"generated.yaml", "password"}
    assert (tmp_path / "media/local_content/aa/bb/cc").read_bytes() == b"a picture"
    # Doing it again changes nothing.
    after = files(keys)
    prepare(str(keys), SYNAPSE_SERVER_NAME="x.org")
    assert files(keys) == after


@pytest.mark.parametrize("done", [0, 1, 3, 7])
def test_a_move_of_keys_that_was_broken_off_goes_on(
    prepare: Callable[..., Any],
    tmp_path: Path,
    keys: Path,
    monkeypatch: pytest.MonkeyPatch,
    done: int,
) -> None:
    prepare(SYNAPSE_SERVER_NAME="x.org")
    before = files(tmp_path)
    steps = iter(range(done))
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if next(steps, None) is None:
            raise OSError("the power is gone")
        return real(path, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", replace)
        with pytest.raises(OSError, match="power"):
            prepare(str(keys), SYNAPSE_SERVER_NAME="x.org")
    # Whatever has happened, they are all there, here or there.
    assert {**files(keys), **files(tmp_path)}["signing.key"] == before["signing.key"]

    prepare(str(keys), SYNAPSE_SERVER_NAME="x.org")

    assert {name: before[name] for name in KEYS} == {name: files(keys)[name] for name in KEYS}
    assert "signing.key" not in files(tmp_path)


def test_nobody_makes_other_keys_where_they_have_been(
    prepare: Callable[..., Any], tmp_path: Path, keys: Path
) -> None:
    prepare(str(keys), SYNAPSE_SERVER_NAME="x.org")
    before = files(tmp_path)

    with pytest.raises(SystemExit, match="nothing was made: the keys are the profile scale's"):
        prepare(SYNAPSE_SERVER_NAME="x.org")

    assert files(tmp_path) == before
    for path in keys.iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match=r"and that is empty\. Bring its backup back"):
        prepare(str(keys), SYNAPSE_SERVER_NAME="x.org")
    assert files(keys) == {}


def test_keys_of_another_homeserver_are_not_taken_over(
    prepare: Callable[..., Any], tmp_path: Path, keys: Path
) -> None:
    prepare(SYNAPSE_SERVER_NAME="x.org")
    (keys / "signing.key").write_text("another one")
    before = files(tmp_path)

    with pytest.raises(SystemExit, match="are different, and one homeserver has one"):
        prepare(str(keys), SYNAPSE_SERVER_NAME="x.org")

    assert files(tmp_path) == before
    assert files(keys)["signing.key"] == b"another one"


def test_keys_come_back_to_the_profile_small(
    prepare: Callable[..., Any], tmp_path: Path, keys: Path
) -> None:
    prepare(SYNAPSE_SERVER_NAME="x.org")
    before = files(tmp_path)
    prepare(str(keys), SYNAPSE_SERVER_NAME="x.org")

    prepare(str(keys), "back")

    prepare(SYNAPSE_SERVER_NAME="x.org")
    assert files(tmp_path) == before
    with pytest.raises(SystemExit, match="nothing to bring back"):
        prepare(str(keys), "back")
    prepare(str(keys), SYNAPSE_SERVER_NAME="x.org")
    assert files(keys)["signing.key"] == before["signing.key"]


@pytest.mark.parametrize("arguments", [["a", "b"], ["a", "back", "c"]])
def test_it_does_what_it_knows_only(prepare: Callable[..., Any], arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"Makes what Synapse needs"):
        prepare(*arguments, SYNAPSE_SERVER_NAME="x.org")


@pytest.fixture(scope="module")
def store() -> Iterator[Objects]:
    with left_out_if_missing(), objects() as made:
        made.client().create_bucket(Bucket=BUCKET)
        yield made


@pytest.fixture
def cleaner(store: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    credentials = f"aws_access_key_id = {store.key}\naws_secret_access_key = {store.secret}\n"
    (tmp_path / "credentials").write_text(f"[default]\n{credentials}")
    for name, value in {
        "AWS_ENDPOINT_URL_S3": store.url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "AWS_MAX_ATTEMPTS": "1",
        "S3_BUCKET": BUCKET,
    }.items():
        monkeypatch.setenv(name, value)
    # It remembers whose key it has read.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    script = module("media_cleaner")
    monkeypatch.setattr(script, "MEDIA", tmp_path / "media")
    monkeypatch.setattr(script, "LISTS", tmp_path)
    monkeypatch.setattr(script, "SCALE", DEPLOY / "scale.yaml")
    monkeypatch.setattr(script, "SECRETS", tmp_path / "of-media")
    (tmp_path / "of-media").mkdir()
    (tmp_path / "of-media" / "password").write_text("s3cret")
    return script


def put(folder: Path, key: str, content: bytes, *, age: float = 600.0) -> None:
    path = folder / "media" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    then = time.time() - age
    os.utime(path, (then, then))


def there(store: Objects, key: str) -> bytes:
    body: bytes = store.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return body


def test_what_s3_lacks_is_brought_there(
    cleaner: ModuleType, store: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "local_content/aa/bb/missing", b"missing")
    put(tmp_path, "remote_thumbnail/x.org/aa/bb/cc/32-32-image-png-crop", b"thumbnail")
    put(tmp_path, "local_content/aa/bb/broken", b"the whole of it")
    put(tmp_path, "local_content/aa/bb/same", b"same")
    put(tmp_path, "local_content/aa/bb/being-written", b"hal", age=1)
    put(tmp_path, "url_cache/2026-11-23/page", b"nobody's business")
    # What is written down is what is here, in tests/e2e/scale/test_media.py by a real database.
    monkeypatch.setattr(cleaner, "length_of", lambda key: (tmp_path / "media" / key).stat().st_size)
    for key, content in (("broken", b"the wh"), ("same", b"SAME")):
        store.client().put_object(Bucket=BUCKET, Key=f"local_content/aa/bb/{key}", Body=content)

    assert cleaner.bring_up() == 3

    assert store.keys(BUCKET) == {
        "local_content/aa/bb/missing",
        "local_content/aa/bb/broken",
        "local_content/aa/bb/same",
        "remote_thumbnail/x.org/aa/bb/cc/32-32-image-png-crop",
    }
    assert there(store, "local_content/aa/bb/broken") == b"the whole of it"
    # Of the same size: it is not read to be compared.
    assert there(store, "local_content/aa/bb/same") == b"SAME"
    assert cleaner.bring_up() == 0


@pytest.mark.parametrize("secret", ["wrong", None])
def test_nothing_is_deleted_unless_s3_says_what_it_has(
    cleaner: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    secret: str | None,
) -> None:
    put(tmp_path, "local_content/aa/bb/kept", b"kept")
    monkeypatch.setattr(cleaner, "delete", lambda _: pytest.fail("it was to be deleted"))
    if secret is None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    else:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "matrix:synapse")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)

    with pytest.raises(Exception, match=r"403|Could not connect"):
        cleaner.clean("0s")

    assert (tmp_path / "media/local_content/aa/bb/kept").exists()


def test_there_is_one_at_a_time(
    cleaner: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cleaner, "bring_up", lambda: pytest.fail("it went on"))
    with (tmp_path / "media-cleaner.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        assert cleaner.clean("0s") == 1

    assert "another one is at work" in capsys.readouterr().err


def test_each_list_is_a_fresh_one_and_a_failure_is_told(
    cleaner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[list[str], Path]] = []
    shown: list[tuple[Path, dict[str, Any]]] = []

    def run(command: list[str], *, cwd: Path, check: bool) -> "subprocess.CompletedProcess[bytes]":
        assert not check
        assert list(cwd.iterdir()) == []
        if "update" in command:
            shown.append((Path(command[-1]), yaml.safe_load(Path(command[-1]).read_text())))
            assert shown[0][0].stat().st_mode & 0o777 == 0o600
            command = [*command[:-1], "FILE"]
        runs.append((command, cwd))
        return subprocess.CompletedProcess(command, 0 if "update" in command else 7)

    monkeypatch.setattr(cleaner.subprocess, "run", run)

    assert cleaner.delete("60d") == 7

    media = str(tmp_path / "media")
    assert [command[2:] for command, _ in runs] == [
        ["update", media, "60d", "--homeserver-config-path", "FILE"],
        ["upload", media, BUCKET, "--delete"],
    ]
    assert len({cwd for _, cwd in runs}) == 1
    assert not runs[0][1].exists()
    # It is somebody else than Synapse there, and nothing of that is left.
    ((file, content),) = shown
    assert not file.exists()
    database = content["database"]["args"]
    shipped = yaml.safe_load((DEPLOY / "scale.yaml").read_text())["database"]["args"]
    assert (database["user"], database["password"]) == ("media", "s3cret")
    assert database["host"] == shipped["host"]
    assert database["sslrootcert"] == str(tmp_path / "of-media" / "ca.crt")
    assert not {"passfile", "cp_max"} & database.keys()


def told(port: int) -> dict[str, float]:
    """What the nightly one tells Prometheus."""
    lines = request("GET", f"http://127.0.0.1:{port}/metrics").body.decode().splitlines()
    figures = (line.split(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in figures}


def test_it_tells_when_it_was_last_done_whatever_was_restarted(
    cleaner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = iter([7, 0])
    monkeypatch.setattr(cleaner, "delete", lambda _: next(failed))
    port, done = free_port(), tmp_path / cleaner.DONE
    # The clock of files is some milliseconds behind.
    before = time.time() - 1

    with cleaner.telling(port):
        # At the very first start nothing is late.
        assert told(port)["media_cleaner_done_timestamp_seconds"] >= before
        assert told(port)["media_store_up"] == 1
    os.utime(done, (0, 0))
    with cleaner.telling(port):
        assert told(port)["media_cleaner_done_timestamp_seconds"] == 0
        assert cleaner.clean("60d") == 7
        assert told(port)["media_cleaner_done_timestamp_seconds"] == 0
        assert cleaner.clean("60d") == 0
        assert told(port)["media_cleaner_done_timestamp_seconds"] >= before


def test_it_tells_of_a_store_that_comes_and_goes(
    cleaner: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr(cleaner, "LOOK_EACH", 0.05)
    there = threading.Event()
    monkeypatch.setattr(cleaner, "store_answers", there.is_set)

    with cleaner.telling(port):
        for now in (False, True, False):
            (there.set if now else there.clear)()
            deadline = time.monotonic() + 30
            while told(port)["media_store_up"] != now:
                assert time.monotonic() < deadline
                time.sleep(0.05)  # noqa: TID251 - with a deadline


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere"),
        ("AWS_SECRET_ACCESS_KEY", "wrong"),
    ],
)
def test_a_store_that_lets_nobody_in_is_none(
    cleaner: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
) -> None:
    assert cleaner.store_answers()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv(name, value)
    if "SECRET" in name:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "matrix:synapse")

    assert not cleaner.store_answers()
    assert "S3 does not answer: " in capsys.readouterr().err


def test_a_store_without_the_bucket_is_none(
    cleaner: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaner, "BUCKET", "another")

    assert not cleaner.store_answers()


@pytest.mark.parametrize("hour", [0, 3, 23])
def test_the_next_night_is_within_a_day(cleaner: ModuleType, hour: int) -> None:
    assert 0 < cleaner.until(hour) <= 86400


@pytest.mark.parametrize("arguments", [[], ["later"], ["now", "1d", "2d"]])
def test_it_says_what_it_can_do(cleaner: ModuleType, arguments: list[str]) -> None:
    assert cleaner.main(arguments) == 2
