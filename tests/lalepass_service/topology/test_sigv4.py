"""Signatures, held against the ones that AWS has published."""

from datetime import UTC, datetime

import pytest

from lalepass_service.topology.sigv4 import Credentials, signed

# "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", its examples.
KEY = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = {"Host": "examplebucket.s3.amazonaws.com"}
WHEN = datetime(2013, 5, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {"Range": "bytes=0-9"},
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
    ],
)
def test_they_are_those_of_the_examples(
    method: str, path: str, headers: dict[str, str], body: bytes, signature: str
) -> None:
    made = signed(
        KEY,
        method=method,
        path=path,
        headers=HOST | headers,
        body=body,
        region="us-east-1",
        now=WHEN,
    )

    assert made["Authorization"].endswith(f"Signature={signature}")
    assert "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request" in str(made)
    assert made["x-amz-date"] == "20130524T000000Z"


def test_the_secret_is_not_shown() -> None:
    assert KEY.secret not in repr(KEY)
