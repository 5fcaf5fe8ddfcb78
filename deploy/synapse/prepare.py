"""Makes what Synapse needs before its first start. Doing it again changes nothing.

Reads SYNAPSE_SERVER_NAME, SYNAPSE_PUBLIC_BASEURL and S3_BUCKET. The name of a server is for ever:
when it has been made with another one, this says so and fails.
"""

import os
import re
import secrets
import sys
from pathlib import Path

import yaml
from signedjson.key import generate_signing_key, write_signing_keys

DATA = Path("/data")
GENERATED = DATA / "generated.yaml"
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


def main() -> None:
    """Write what is missing."""
    os.umask(0o077)
    name = os.environ.get("SYNAPSE_SERVER_NAME", "")
    if not NAME.fullmatch(name):
        sys.exit("SYNAPSE_SERVER_NAME is the domain of your users' names, such as example.org")
    there = yaml.safe_load(GENERATED.read_text()) if GENERATED.exists() else {}
    if there.get("server_name", name) != name:
        sys.exit(
            f"this homeserver is {there['server_name']} and can't become {name}: "
            "put SYNAPSE_SERVER_NAME back, or begin with new volumes"
        )
    for secret in SECRETS:
        _once(DATA / secret, secrets.token_urlsafe(32))
    if REPLICATION_PASSWORD.parent.is_mount():
        _once(REPLICATION_PASSWORD, secrets.token_urlsafe(32), mode=0o640)
    if STORAGE_KEY.parent.is_mount():
        # Of the form that the object store of docker-compose.yml knows, in Amazon's own format.
        key = (
            f"aws_access_key_id = media:synapse\naws_secret_access_key = {secrets.token_hex(32)}\n"
        )
        _once(STORAGE_KEY, f"[default]\n{key}", mode=0o640)
    if not (DATA / "signing.key").exists():
        with _new(DATA / "signing.key").open("w") as file:
            write_signing_keys(file, [generate_signing_key("a_" + secrets.token_hex(2))])
        _new(DATA / "signing.key").replace(DATA / "signing.key")
    # What libpq reads: any host, any port, the database, the user, the password. It takes a file
    # that nobody else may read, and no other.
    password = PASSWORD.read_text()
    _replace(DATA / "pgpass", f"*:*:synapse:synapse:{password}\n")
    base_url = os.environ.get("SYNAPSE_PUBLIC_BASEURL") or f"https://{name}/"
    options = {"server_name": name, "public_baseurl": base_url, **_storage()}
    _replace(GENERATED, yaml.safe_dump(options))


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
    main()
