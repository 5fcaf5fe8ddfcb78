"""Sockets, TLS and HTTP for one question: every wait bounded, every answer capped."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography import x509

from lalepass_service.topology.finding import Amiss
from lalepass_service.topology.parts import Address
from lalepass_service.topology.plan import Login

SECONDS: Final = 3.0
"""For a connection, and for each answer."""

_MAX_ANSWER: Final = 1024 * 1024
_MAX_SECRET: Final = 8192
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    """Names in small letters."""
    body: bytes
    ahead: float | None
    """Seconds that its clock is ahead of ours, to about a second; None if it does not say."""
    valid_until: datetime | None
    """The end of its certificate; None without TLS."""


@contextmanager
def blamed(address: Address, *, seconds: float = SECONDS) -> Iterator[None]:
    """Say what is wrong with a part in the words of its operator.

    Raises:
        Amiss: whatever was raised inside.
    """
    try:
        yield
    except TimeoutError:
        raise Amiss(
            f"{address} does not answer within {seconds:.0f} s",
            fix="start it, or let its network and firewall pass this connection",
        ) from None
    except socket.gaierror:
        raise Amiss(
            f"{address.host} has no address here",
            fix="put both on a network that they share, or mend the name",
        ) from None
    except ConnectionRefusedError:
        raise Amiss(
            f"{address} refuses connections",
            fix="start it, or let it listen on the address that others reach",
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise Amiss(
            f"its certificate is not accepted: {error.verify_message}",
            fix="name its authority in ca_path, or give it a certificate for its name",
            about="certificate",
        ) from None
    except ssl.SSLError as error:
        raise Amiss(
            f"there is no TLS with it: {(error.reason or 'cut').lower().replace('_', ' ')}",
            fix="compare tls in this file with what it speaks, and the certificates of both",
            about="certificate",
        ) from None
    except http.client.HTTPException as error:
        raise Amiss(
            f"{address} does not answer as HTTP: {type(error).__name__}",
            fix="look what else listens there",
        ) from None
    except OSError as error:
        raise Amiss(
            f"{address} can't be reached: {error.strerror or type(error).__name__}",
            fix="start it, or let its network and firewall pass this connection",
        ) from None


def connect(address: Address, *, seconds: float = SECONDS) -> socket.socket:
    """Return a connection, on which each wait is as short.

    Raises:
        OSError: there is none.
    """
    return socket.create_connection(address, timeout=seconds)


def secret(path: str, *, what: str) -> str:
    """Read a secret out of its file, without the end of the line.

    Raises:
        Amiss: it can't be read, or is empty.
    """
    try:
        with Path(path).open(encoding="utf-8") as opened:
            text = opened.read(_MAX_SECRET).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not text"
        raise Amiss(
            f"the {what} in {path} can't be read: {why}",
            fix="mend the path in the file, or let who runs this read it",
            about="secret",
        ) from None
    if not text:
        raise Amiss(f"{path} is empty", fix=f"put the {what} into it", about="secret")
    return text


def tls_of(login: Login) -> ssl.SSLContext:
    """Return whom to trust, and what to show.

    Raises:
        Amiss: a file is not there or is none of certificates.
    """
    path = login.ca_path
    try:
        context = ssl.create_default_context(cafile=path)
        # As the parts verify one another: Python 3.13's default finds fault with more.
        context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
        if login.certificate_path and login.key_path:
            path = login.certificate_path
            context.load_cert_chain(login.certificate_path, login.key_path, password=_no_passphrase)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "there is no certificate in it"
        why = "it is none" if isinstance(error, ssl.SSLError) else why
        raise Amiss(
            f"the certificate in {path} or its key can't be used: {why}",
            fix="mend the path in the file, or let who runs this read it",
            about="secret",
        ) from None
    return context


def _no_passphrase() -> str:
    """Keep OpenSSL from asking at the terminal."""
    raise ValueError("the key has a passphrase")


def own_end(login: Login) -> datetime | None:
    """Return when the certificate ends that we show; None if there is none.

    Raises:
        Amiss: it can't be read.
    """
    if login.certificate_path is None:
        return None
    try:
        pem = Path(login.certificate_path).read_bytes()
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (OSError, ValueError):
        raise Amiss(
            f"the certificate in {login.certificate_path} can't be read",
            fix="mend the path in the file, or let who runs this read it",
            about="secret",
        ) from None


def ask(
    method: str,
    address: Address,
    path: str,
    *,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] = _NO_HEADERS,
    body: bytes | None = None,
) -> Answer:
    """Ask once. No redirect is followed and no proxy of the environment is used.

    Raises:
        Amiss: there was no answer.
    """
    with blamed(address):
        connection = http.client.HTTPConnection(address.host, address.port, timeout=SECONDS)
        try:
            connection.sock = plain = connect(address)
            valid_until = None
            if tls is not None:
                wrapped = tls.wrap_socket(plain, server_hostname=address.host)
                connection.sock, valid_until = wrapped, _end_of(wrapped)
            before = time.time()
            connection.request(method, path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            ahead = _ahead(answer.getheader("Date"), since=before)
            return Answer(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.getheaders()},
                body=answer.read(_MAX_ANSWER),
                ahead=ahead,
                valid_until=valid_until,
            )
        finally:
            connection.close()


def _ahead(date: str | None, *, since: float) -> float | None:
    """Return how far a clock is ahead of ours. Theirs is cut to the second (RFC 9110, 5.6.7)."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return None
    return ahead(theirs, theirs + 1.0, since=since)


def ahead(earliest: float, latest: float, *, since: float) -> float:
    """Return the least by which a clock is ahead (or behind, below 0) that the answer proves.

    Args:
        earliest: what it may have been at the other side when it answered, in seconds.
        latest: the same.
        since: when we asked.
    """
    now = time.time()
    if earliest > now:
        return earliest - now
    return min(0.0, latest - since)


def _end_of(connection: ssl.SSLSocket) -> datetime | None:
    shown = connection.getpeercert() or {}
    if not isinstance(end := shown.get("notAfter"), str):
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(end), tz=UTC)
