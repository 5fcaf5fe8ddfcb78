"""The few HTTP requests that tools make, to loopback only.

`http.client` rather than a library: it follows no redirects and reads no proxy settings from the
environment, which would send a request for 127.0.0.1 somewhere else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """Return the body as JSON.

        Raises:
            ValueError: it is none.
        """
        parsed: object = json.loads(self.body)
        return parsed


def request(
    method: str,
    url: str,
    *,
    content: object = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> Answer:
    """Send a request, with `content` as a JSON body unless it is None.

    Raises:
        OSError: nobody answers there, or not in time.
        http.client.HTTPException: what answers does not speak HTTP.
    """
    parts = urlsplit(url)
    body = None if content is None else json.dumps(content)
    sent = {"Content-Type": "application/json"} if body is not None else {}
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request(method, target, body=body, headers=sent | dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()
