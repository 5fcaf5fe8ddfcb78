"""Files of people are in the object store, and older ones are moved there as the page has it."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.parts import SERVER_NAME, Client
from tests.e2e.scale.conftest import PASSWORD
from tests.e2e.scale.site import BUCKET, Chat
from tests.e2e.sessions import log_in
from tests.e2e.waiting import until
from tests.plain import NO_AUTHORITIES
from tests.servers.objects import REGION

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[3] / "docs" / "scaling.md").read_text(encoding="utf-8")
SMALL, LARGE = 5_000, 9_000_000
"""Bytes. The large one is sent in parts."""


def step(kind: str) -> list[str]:
    """What the page has of this kind for the step of media to S3."""
    _, _, section = PAGE.partition("### M5: media to S3\n")
    section, _, _ = section.partition("\n### ")
    marked = rf"<!-- tests/e2e/scale/test_media.py runs this. -->\n```{kind}\n(.*?)```"
    return re.findall(marked, section, re.DOTALL)


def upload(client: Client, session: dict[str, Any], content: bytes) -> str:
    """Return the id of what was uploaded."""
    answer = httpx.post(
        f"{client.url}/_matrix/media/v3/upload",
        content=content,
        headers={
            "Authorization": f"Bearer {session['access_token']}",
            "Content-Type": "application/octet-stream",
        },
        timeout=60,
        trust_env=False,
        verify=NO_AUTHORITIES,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["content_uri"]).removeprefix(f"mxc://{SERVER_NAME}/")


def download(client: Client, session: dict[str, Any], media: str) -> bytes:
    path = f"/_matrix/client/v1/media/download/{SERVER_NAME}/{media}"
    answer = client.call("GET", path, token=session["access_token"])
    assert answer.status_code == 200, answer.text
    return answer.content


def name_of(media: str) -> str:
    """Where it is below the folder of media, and in the bucket."""
    return f"local_content/{media[:2]}/{media[2:4]}/{media[4:]}"


def local(site: Chat, media: str) -> Path:
    return site.deployed.place("/data/media") / name_of(media)


def stored(site: Chat, media: str) -> bytes:
    entry = site.objects.client().get_object(Bucket=BUCKET, Key=name_of(media))
    return bytes(entry["Body"].read())


def clean(site: Chat) -> None:
    """Do what the stack does each night, with files that were opened a moment ago."""
    program = site.deployed.program("media_cleaner.py")
    done = subprocess.run(
        [sys.executable, "-c", program, "now", "0s"],
        check=False,
        capture_output=True,
        text=True,
        env=_environment() | dict(site.synapse["media"].environment()),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_is_gone_from_the_disk_is_read_from_the_store(site: Chat) -> None:
    site.wait_until_well()
    ada, bruno = log_in(site.door, "ada", PASSWORD), log_in(site.door, "bruno", PASSWORD)
    contents = {}
    for size in (SMALL, LARGE):
        content = secrets.token_bytes(size)
        contents[upload(site.door, ada, content)] = content
    for media, content in contents.items():
        until(lambda m=media: name_of(m) in site.objects.keys(BUCKET), what="it is in the store")  # type: ignore[misc]  # bound now
        assert stored(site, media) == content

    clean(site)

    for media, content in contents.items():
        assert not local(site, media).exists()
        assert download(site.door, bruno, media) == content


@pytest.mark.parametrize("broken", ["here", "there"])
def test_half_a_file_takes_no_place_of_a_whole_one(site: Chat, broken: str) -> None:
    site.wait_until_well()
    ada, content = log_in(site.door, "ada", PASSWORD), secrets.token_bytes(SMALL)
    media = upload(site.door, ada, content)
    until(lambda: name_of(media) in site.objects.keys(BUCKET), what="it is in the store")
    file, half = local(site, media), content[: SMALL // 2]
    if broken == "here":
        file.write_bytes(half)
    else:
        site.objects.client().put_object(Bucket=BUCKET, Key=name_of(media), Body=half)
    # Nobody writes to it any more.
    os.utime(file, (0, 0))

    clean(site)

    assert stored(site, media) == content
    assert not file.exists()
    assert download(site.door, ada, media) == content


def test_of_what_nobody_knows_the_longer_is_kept(site: Chat) -> None:
    site.wait_until_well()
    s3, folder = site.objects.client(), site.deployed.place("/data/media")
    thumbnails = {"local_thumbnails/AA/BB/longer/a": 10, "local_thumbnails/AA/BB/shorter/a": 1}
    for name, length in thumbnails.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"h" * length)
        os.utime(folder / name, (0, 0))
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"there")

    clean(site)

    kept = [s3.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in thumbnails]
    assert kept == [b"h" * 10, b"there"]


def run(site: Chat, folder: Path, commands: str) -> None:
    """Do what the page says, in a folder of its own."""
    folder.mkdir()
    for page, here in {
        "/var/lib/matrix-synapse/media": site.deployed.place("/data/media"),
        # the file that has `database` in it
        "/etc/matrix-synapse/homeserver.yaml": site.deployed.place("/config/scale.yaml"),
        "https://s3.example.org": site.objects.url,
    }.items():
        assert page in commands
        commands = commands.replace(page, str(here))
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", commands],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **_environment(),
            "AWS_ACCESS_KEY_ID": site.objects.key,
            "AWS_SECRET_ACCESS_KEY": site.objects.secret,
        },
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _environment() -> dict[str, str]:
    # Where `s3_media_upload` is found.
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def options(site: Chat) -> dict[str, Any]:
    """What the page has for homeserver.yaml, with what is another's replaced."""
    (text,) = step("yaml")
    section: dict[str, Any] = yaml.safe_load(text)
    (provider,) = section["media_storage_providers"]
    assert provider["config"]["bucket"] == BUCKET
    provider["config"] |= {
        "region_name": REGION,
        "endpoint_url": site.objects.url,
        "access_key_id": site.objects.key,
        "secret_access_key": site.objects.secret,
    }
    return section


def test_files_of_before_are_moved_as_the_page_has_it(site: Chat, tmp_path: Path) -> None:
    site.wait_until_well()
    ada, worker = log_in(site.door, "ada", PASSWORD), site.synapse["media"]
    old_content, new_content = secrets.token_bytes(SMALL), secrets.token_bytes(SMALL)
    # As it was before there was a store.
    old = upload(site.door, ada, old_content)
    until(lambda: name_of(old) in site.objects.keys(BUCKET), what="it is in the store")
    site.objects.client().delete_object(Bucket=BUCKET, Key=name_of(old))

    before, worker.options = worker.options, {**worker.options, **options(site)}
    worker.restart()
    site.wait_until_well()
    new = upload(site.door, ada, new_content)
    # The page's `store_synchronous`: who has been answered need not wait for it.
    assert stored(site, new) == new_content
    first, nightly = step("sh")
    run(site, tmp_path / "first", first)
    assert stored(site, old) == old_content
    assert local(site, old).exists()

    nobody_for_months = "created_ts = 0, last_access_ts = 0"
    site.sql(f"UPDATE local_media_repository SET {nobody_for_months} WHERE media_id = '{old}'")  # noqa: S608 - an id of Synapse's
    run(site, tmp_path / "nightly", nightly)
    assert not local(site, old).exists()
    assert local(site, new).exists()
    assert download(site.door, ada, old) == old_content
    local(site, new).unlink()
    assert download(site.door, ada, new) == new_content

    # The way back.
    for key in site.objects.keys(BUCKET):
        path = site.deployed.place("/data/media") / key
        path.parent.mkdir(parents=True, exist_ok=True)
        site.objects.client().download_file(BUCKET, key, str(path))
    assert local(site, old).read_bytes() == old_content
    assert local(site, new).read_bytes() == new_content
    worker.options = before
    worker.restart()
