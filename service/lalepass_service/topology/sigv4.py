"""Signs requests to S3: AWS, "Signature Version 4", as the user guide of S3 describes it.

Fifty lines in the place of botocore, which would be the largest package of the service and is
needed for four requests. Only what those four are is supported: no query, a path of plain letters.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SERVICE: Final = "s3"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks."""

    key: str
    secret: str = field(repr=False)


def signed(
    credentials: Credentials,
    *,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    now: datetime,
) -> dict[str, str]:
    """Return all headers of the request: those given, with the signature.

    Args:
        credentials: who asks.
        method: of the request.
        path: of letters that need no escape, with a slash in front.
        headers: among them `Host`; values without spaces at their ends.
        body: of the request.
        region: of the bucket.
        now: in UTC.
    """
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    digest = hashlib.sha256(body).hexdigest()
    full = {**headers, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    small = sorted((name.lower(), value) for name, value in full.items())
    names = ";".join(name for name, _ in small)
    lines = "".join(f"{name}:{value}\n" for name, value in small)
    request = f"{method}\n{path}\n\n{lines}\n{names}\n{digest}"
    scope = f"{now:%Y%m%d}/{region}/{_SERVICE}/aws4_request"
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{credentials.secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    full["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.key}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return full
