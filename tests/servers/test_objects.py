"""An object store does what tests of media rely on."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # as boto3

from lalepass_service.topology import s3
from lalepass_service.topology.finding import Amiss
from lalepass_service.topology.parts import S3
from lalepass_service.topology.plan import Login
from lalepass_service.topology.seen import Seen
from tests.servers.fixtures import left_out_if_missing
from tests.servers.objects import REGION, Objects, objects
from tools.files import write_private
from tools.processes import LOOPBACK

BUCKET = "bucket"
PART = 5 << 20
"""The least that S3 takes as a part that is not the last one."""


@pytest.fixture(scope="module")
def store() -> Iterator[Objects]:
    with left_out_if_missing(), objects() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


def test_it_gives_back_what_it_was_given(store: Objects) -> None:
    content = secrets.token_bytes(5000)
    client = store.client()
    client.put_object(Bucket=BUCKET, Key="folder/one", Body=content)

    assert "folder/one" in store.keys(BUCKET)
    assert client.get_object(Bucket=BUCKET, Key="folder/one")["Body"].read() == content
    middle = client.get_object(Bucket=BUCKET, Key="folder/one", Range="bytes=1000-1999")
    assert middle["Body"].read() == content[1000:2000]
    client.delete_object(Bucket=BUCKET, Key="folder/one")
    assert "folder/one" not in store.keys(BUCKET)


def test_it_puts_parts_together(store: Objects) -> None:
    client, place = store.client(), {"Bucket": BUCKET, "Key": "large"}
    contents = secrets.token_bytes(PART), secrets.token_bytes(1000)
    upload = client.create_multipart_upload(**place)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**place, UploadId=upload, PartNumber=number, Body=part)[
                "ETag"
            ],
        }
        for number, part in enumerate(contents, start=1)
    ]
    client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})

    assert client.get_object(**place)["Body"].read() == b"".join(contents)


def test_it_believes_nobody_without_the_secret(store: Objects) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        store.client(secret="another").list_objects_v2(Bucket=BUCKET)


def test_it_says_what_it_has_not(store: Objects) -> None:
    with pytest.raises(ClientError, match="NoSuchKey"):
        store.client().get_object(Bucket=BUCKET, Key="nothing")


def test_one_that_is_killed_has_what_it_acknowledged(store: Objects) -> None:
    store.client().put_object(Bucket=BUCKET, Key="kept", Body=b"kept")
    store.kill()
    store.start()
    assert store.client().get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"kept"


def looked(
    store: Objects, folder: Path, *, bucket: str = BUCKET, secret: str | None = None
) -> Seen:
    path = folder / "credentials"
    lines = (
        "[default]",
        f"aws_access_key_id = {store.key}",
        f"aws_secret_access_key = {secret or store.secret}",
    )
    write_private(path, "\n".join((*lines, "")))
    part = S3(kind="s3", address=f"{LOOPBACK}:{store.port}", bucket=bucket, region=REGION)
    return s3.look("media", part, Login(credentials_path=str(path)))


def test_the_check_of_a_topology_goes_there_and_back(store: Objects, tmp_path: Path) -> None:
    before = store.keys(BUCKET)
    (finding,) = looked(store, tmp_path).findings

    assert (finding.severity, finding.about) == ("ok", "round-trip")
    assert store.keys(BUCKET) == before
    with pytest.raises(Amiss, match="nothing can be put: 403"):
        looked(store, tmp_path, secret="of somebody else")
    with pytest.raises(Amiss, match="nothing can be put: 404"):
        looked(store, tmp_path, bucket="not-there")
