"""Looks at a bucket: a small object is put, seen, read, compared and deleted."""

import configparser
import secrets
from contextlib import suppress
from typing import Final

from lalepass_service.adapters.clock import SystemClock
from lalepass_service.topology.certificates import soon_over
from lalepass_service.topology.finding import Amiss, fail, ok
from lalepass_service.topology.parts import S3
from lalepass_service.topology.plan import Login
from lalepass_service.topology.seen import Seen
from lalepass_service.topology.sigv4 import Credentials, signed
from lalepass_service.topology.wires import Answer, ask, own_end, secret, tls_of

_OK: Final = frozenset({200, 204})
_FORBIDDEN: Final = frozenset({401, 403})
_BYTES: Final = 4096
_SECTION: Final = "default"


def look(name: str, part: S3, login: Login) -> Seen:
    """See whether what is put into the bucket comes out of it, and who may do that.

    Raises:
        Amiss: it does not.
    """
    if login.credentials_path is None:
        answer = _send(part, login, None, "HEAD", f"/{part.bucket}")
        return Seen(part=name, findings=(ok(name, "reach", "answers"),), ahead=answer.ahead)
    credentials = _credentials(login.credentials_path)
    # Nobody else's: a name that was never used.
    path = f"/{part.bucket}/lalepass-topology-{secrets.token_hex(12)}"
    try:
        last = _round_trip(part, login, credentials, path)
    except Amiss:
        # It may be there all the same; what is wrong is told already.
        with suppress(Amiss):
            _send(part, login, credentials, "DELETE", path)
        raise
    _require(_send(part, login, credentials, "DELETE", path), "deleted", part)
    findings = [ok(name, "round-trip", f"{part.bucket}: put, read and deleted {_BYTES} bytes")]
    stranger = Credentials(credentials.key, secrets.token_urlsafe(30))
    if _send(part, login, stranger, "HEAD", f"/{part.bucket}").status not in _FORBIDDEN:
        findings.append(
            fail(
                name,
                "login",
                f"{part.bucket}: a wrong secret is taken as well",
                fix="let the server check signatures, and close the bucket to all others",
            )
        )
    now = SystemClock().now()
    findings += soon_over(name, theirs=last.valid_until, ours=own_end(login), now=now)
    return Seen(part=name, findings=tuple(findings), ahead=last.ahead)


def _round_trip(part: S3, login: Login, credentials: Credentials, path: str) -> Answer:
    content = secrets.token_bytes(_BYTES)
    _require(_send(part, login, credentials, "PUT", path, content), "put", part)
    seen = _send(part, login, credentials, "HEAD", path)
    _require(seen, "found", part)
    read = _send(part, login, credentials, "GET", path)
    _require(read, "read", part)
    if seen.headers.get("content-length") != str(_BYTES) or read.body != content:
        raise Amiss(
            f"{part.bucket}: what is read is not what was put",
            fix="keep no media there before this is mended",
            about="round-trip",
        )
    return read


def _require(answer: Answer, done: str, part: S3) -> None:
    if answer.status in _OK:
        return
    fix = "look at its log"
    if answer.status in _FORBIDDEN:
        fix = "compare key, secret and region, and what the key may do with this bucket"
    elif answer.status in {301, 307, 404}:
        fix = "make the bucket, or mend its name, region and address"
    raise Amiss(
        f"{part.bucket}: nothing can be {done}: {answer.status}", fix=fix, about="round-trip"
    )


def _send(
    part: S3,
    login: Login,
    credentials: Credentials | None,
    method: str,
    path: str,
    body: bytes = b"",
) -> Answer:
    headers = {"Host": _host(part)}
    if credentials is not None:
        headers = signed(
            credentials,
            method=method,
            path=path,
            headers=headers,
            body=body,
            region=part.region,
            now=SystemClock().now(),
        )
    tls = tls_of(login) if part.tls else None
    return ask(method, part.place, path, tls=tls, headers=headers, body=body or None)


def _host(part: S3) -> str:
    """Return what a client calls the server: without the port that is a matter of course."""
    name = str(part.place)
    return name.removesuffix(":443" if part.tls else ":80")


def _credentials(path: str) -> Credentials:
    """Read a file in the form of AWS's own tools ("Configuration and credential file settings").

    Raises:
        Amiss: it is none.
    """
    text = secret(path, what="credentials")
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    try:
        parser.read_string(text)
        found = parser[_SECTION]
        return Credentials(found["aws_access_key_id"], found["aws_secret_access_key"])
    except (configparser.Error, KeyError):
        # Its errors have the line in them.
        raise Amiss(
            f"{path} has no [{_SECTION}] with aws_access_key_id and aws_secret_access_key",
            fix="write the file as AWS's tools have it",
            about="secret",
        ) from None
