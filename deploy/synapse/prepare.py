"""Makes what Synapse needs before its first start. Doing it again changes nothing.

    prepare.py             keys are with the media, in /data: the profile `small`
    prepare.py FOLDER      keys are there, as in the profile `scale`; brings along those of /data
    prepare.py FOLDER back puts them into /data again

Reads SYNAPSE_SERVER_NAME, SYNAPSE_PUBLIC_BASEURL and S3_BUCKET. The name of a server is for ever:
when it has been made with another one, this says so and fails.
"""

import filecmp
import os
import re
import secrets
import shutil
import sys
from pathlib import Path

import yaml
from signedjson.key import generate_signing_key, write_signing_keys

DATA = Path("/data")
CONFIGURATION = "generated.yaml"
SIGNING_KEY = "signing.key"
PASSFILE = "pgpass"
MOVED = "the keys are the profile scale's, in the volume synapse-keys"
"""Stands for the server's name in /data: whoever made new keys there would be another server."""
PASSWORD = Path("/secrets/database/password")
SCALE = Path("/config/scale.yaml")
# In volumes of their own, in the profile `scale` only: others have to read them.
REPLICATION_PASSWORD = Path("/secrets/replication/password")
STORAGE_KEY = Path("/secrets/objects/credentials")
SECRETS = (
    "macaroon_secret",
    "form_secret",
    "registration_shared_secret",
    # What workers show to one another; the profile `scale` has some.
    "worker_replication_secret",
)
NAME = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?")


def main(arguments: list[str]) -> None:
    """Write what is missing."""
    os.umask(0o077)
    match arguments:
        case []:
            make(DATA)
        case [folder]:
            bring_keys(Path(folder))
            make(Path(folder))
            seal(Path(folder))
        case [folder, "back"]:
            bring_back(Path(folder))
        case _:
            sys.exit(__doc__)


def make(keys: Path) -> None:
    """Write what is missing into the folder of keys."""
    name = os.environ.get("SYNAPSE_SERVER_NAME", "")
    if not NAME.fullmatch(name):
        sys.exit("SYNAPSE_SERVER_NAME is the domain of your users' names, such as example.org")
    was = _server_name(keys) or name
    if was == MOVED:
        sys.exit(f"nothing was made: {MOVED}. The way back is in docs/containers.md")
    if was != name:
        sys.exit(
            f"this homeserver is {was} and can't become {name}: "
            "put SYNAPSE_SERVER_NAME back, or begin with new volumes"
        )
    for secret in SECRETS:
        _once(keys / secret, secrets.token_urlsafe(32))
    if REPLICATION_PASSWORD.parent.is_mount():
        _once(REPLICATION_PASSWORD, secrets.token_urlsafe(32), mode=0o640)
    if STORAGE_KEY.parent.is_mount():
        # Of the form that the object store of docker-compose.yml knows, in Amazon's own format.
        key = (
            f"aws_access_key_id = media:synapse\naws_secret_access_key = {secrets.token_hex(32)}\n"
        )
        _once(STORAGE_KEY, f"[default]\n{key}", mode=0o640)
    if not (keys / SIGNING_KEY).exists():
        with _new(keys / SIGNING_KEY).open("w") as file:
            write_signing_keys(file, [generate_signing_key("a_" + secrets.token_hex(2))])
        _new(keys / SIGNING_KEY).replace(keys / SIGNING_KEY)
    # What libpq reads: any host, any port, the database, the user, the password. It takes a file
    # that nobody else may read, and no other.
    password = PASSWORD.read_text()
    _replace(keys / PASSFILE, f"*:*:synapse:synapse:{password}\n")
    base_url = os.environ.get("SYNAPSE_PUBLIC_BASEURL") or f"https://{name}/"
    options = {"server_name": name, "public_baseurl": base_url, **_storage()}
    _replace(keys / CONFIGURATION, yaml.safe_dump(options))


def bring_keys(keys: Path) -> None:
    """Copy what /data has into the folder of keys; nothing is removed before all of it is there."""
    if _server_name(DATA) == MOVED:
        if not (keys / SIGNING_KEY).exists():
            sys.exit(f"nothing was made: {MOVED}, and that is empty. Bring its backup back")
        return
    for name in (*SECRETS, SIGNING_KEY, CONFIGURATION):
        if (DATA / name).exists():
            _copy(DATA / name, keys / name)


def seal(keys: Path) -> None:
    """Remove from /data what is in the folder of keys, and have nobody make new ones there."""
    if _server_name(DATA) != MOVED:
        # On the disk first: after a loss of power there have to be some.
        _sync(keys)
        _replace(DATA / CONFIGURATION, yaml.safe_dump({"server_name": MOVED}))
        _sync(DATA)
    for name in (*SECRETS, SIGNING_KEY, PASSFILE):
        (DATA / name).unlink(missing_ok=True)
        _new(DATA / name).unlink(missing_ok=True)


def bring_back(keys: Path) -> None:
    """Copy the keys into /data, where the profile `small` has them."""
    if _server_name(DATA) != MOVED:
        sys.exit("nothing to bring back: /data has the keys")
    for name in (*SECRETS, SIGNING_KEY):
        _copy(keys / name, DATA / name)
    # Now it is the server of that name again.
    shutil.copy(keys / CONFIGURATION, _new(DATA / CONFIGURATION))
    _new(DATA / CONFIGURATION).replace(DATA / CONFIGURATION)


def _server_name(folder: Path) -> str | None:
    path = folder / CONFIGURATION
    name = yaml.safe_load(path.read_text()).get("server_name") if path.exists() else None
    return None if name is None else str(name)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, unless that one is there."""
    if target.name != CONFIGURATION and target.exists():
        if not filecmp.cmp(source, target, shallow=False):
            sys.exit(f"{source} and {target} are different, and one homeserver has one: remove one")
        return
    shutil.copy(source, _new(target))
    _new(target).replace(target)


def _sync(folder: Path) -> None:
    for path in (*(each for each in folder.iterdir() if each.is_file()), folder):
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.close(file)


def _storage() -> dict[str, object]:
    """Return scale.yaml's object storage with the bucket that is wanted, if it is another one."""
    bucket = os.environ.get("S3_BUCKET", "")
    if not bucket:
        return {}
    providers = yaml.safe_load(SCALE.read_text())["media_storage_providers"]
    for provider in providers:
        provider["config"]["bucket"] = bucket
    return {"media_storage_providers": providers}


def _once(path: Path, content: str, *, mode: int = 0o600) -> None:
    if not path.exists():
        _replace(path, content, mode=mode)


def _replace(path: Path, content: str, *, mode: int = 0o600) -> None:
    _new(path).write_text(content)
    _new(path).chmod(mode)
    _new(path).replace(path)


def _new(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


if __name__ == "__main__":
    main(sys.argv[1:])
