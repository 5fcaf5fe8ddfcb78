"""Files go to S3, are deleted here, and are still there."""

import os
import socket
import struct
import zlib
from contextlib import ExitStack

import pytest

from tests.docker.people import ALICE, until
from tests.docker.scale.chat import Chat, Person
from tests.docker.stack import SERVER_NAME, CommandFailed, Stack

_COUNT = """
import boto3, os
s3 = boto3.client('s3')
bucket = os.environ['S3_BUCKET'] or 'matrix-media'
for page in s3.get_paginator('list_objects_v2').paginate(Bucket=bucket):
    for entry in page.get('Contents', ()):
        print(entry['Key'], entry['Size'])
"""


@pytest.fixture(scope="module")
def alice(scale: Stack) -> Person:
    return Chat(scale, timeout=90.0).log_in("alice", ALICE)


def in_s3(stack: Stack) -> dict[str, int]:
    """The sizes of what is in the bucket, by the part of its key that is Synapse's id."""
    listed = stack.compose("exec", "-T", "media-cleaner", "python", "-c", _COUNT)
    entries = (line.rsplit(" ", 1) for line in listed.splitlines())
    return {key: int(size) for key, size in entries}


def key_of(media_id: str) -> str:
    return f"local_content/{media_id[:2]}/{media_id[2:4]}/{media_id[4:]}"


def here(stack: Stack, media_id: str) -> bool:
    """Whether there is a local copy."""
    path = f"/data/media/{key_of(media_id)}"
    try:
        stack.compose("exec", "-T", "synapse-media", "test", "-e", path)
    except CommandFailed:
        return False
    return True


def clean(stack: Stack, *age: str) -> str:
    command = ("python", "/config/media_cleaner.py", "now", *age)
    return stack.compose("exec", "-T", "media-cleaner", *command)


def test_files_on_their_way_have_room(scale: Stack) -> None:
    """Eight large ones are more than /tmp. Nobody is asked who sends them before all has come."""
    size, count = 48_000_000, 8
    path = "/_matrix/media/v3/upload"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size + 1}\r\n\r\n"
    address = ("127.0.0.1", scale.port)
    with ExitStack() as stack:
        sending = [
            stack.enter_context(socket.create_connection(address, timeout=90.0))
            for _ in range(count)
        ]
        for connection in sending:
            connection.sendall(head.encode() + bytes(size))
        for connection in sending:
            connection.sendall(b"!")
        told = [connection.recv(12).decode() for connection in sending]

    assert told == ["HTTP/1.1 401"] * count


def picture() -> bytes:
    """A PNG of 64 by 64 points, of which Synapse makes thumbnails."""
    rows = b"".join(b"\0" + os.urandom(64 * 3) for _ in range(64))

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("size", [5_000, 12_000_000], ids=["small", "in parts"])
def test_a_file_is_read_from_s3_when_it_is_deleted_here(
    scale: Stack, alice: Person, size: int
) -> None:
    content = os.urandom(size)
    media_id = alice.put(content)
    assert alice.download(media_id).body == content
    until(lambda: in_s3(scale).get(key_of(media_id)) == size, seconds=60)
    assert here(scale, media_id)

    clean(scale, "0s")

    assert not here(scale, media_id)
    said = alice.download(media_id)
    assert said.status == 200
    assert said.body == content


def test_what_is_not_old_stays_here(scale: Stack, alice: Person) -> None:
    media_id = alice.put(b"young")

    clean(scale)

    assert here(scale, media_id)


def test_a_picture_and_its_thumbnails(scale: Stack, alice: Person) -> None:
    media_id = alice.put(picture(), kind="image/png")
    path = (
        f"/_matrix/client/v1/media/thumbnail/{SERVER_NAME}/{media_id}"
        "?width=32&height=32&method=crop"
    )
    thumbnail = alice.call("GET", path)
    assert thumbnail.status == 200

    clean(scale, "0s")

    assert not here(scale, media_id)
    assert alice.call("GET", path).body == thumbnail.body


def test_what_could_not_be_stored_is_brought_along(scale: Stack, alice: Person) -> None:
    scale.compose("stop", "objects")
    try:
        media_id = alice.put(b"while it was away")
        assert alice.download(media_id).body == b"while it was away"
        with pytest.raises(CommandFailed):
            clean(scale, "0s")
        assert here(scale, media_id)
    finally:
        scale.compose("up", "--detach", "--wait", "--no-deps", "objects")

    clean(scale, "0s")

    assert not here(scale, media_id)
    assert alice.download(media_id).body == b"while it was away"


def test_a_file_that_is_another_one_there_is_not_believed(scale: Stack, alice: Person) -> None:
    media_id = alice.put(b"the right one")
    until(lambda: key_of(media_id) in in_s3(scale), seconds=60)
    broken = (
        "import boto3, os; boto3.client('s3').put_object("
        f"Bucket=os.environ['S3_BUCKET'] or 'matrix-media', Key='{key_of(media_id)}', Body=b'half')"
    )
    scale.compose("exec", "-T", "media-cleaner", "python", "-c", broken)
    path = f"/data/media/{key_of(media_id)}"
    # Nobody writes to it any more.
    scale.compose("exec", "-T", "synapse-media", "touch", "-d", "2 minutes ago", path)

    clean(scale, "0s")

    assert not here(scale, media_id)
    assert alice.download(media_id).body == b"the right one"
