"""One exchange after the other with a service, on a thread of its own, within one deadline.

With the standard library and not with the module's own transport: no reactor runs here.
"""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from lalepass_wire import limits, paths

_DER: Final = 2
"""`_ssl.ENCODING_DER`."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One replica of the service, and how the module would talk to it."""

    address: str
    token: SecretStr
    seconds: float
    ca_path: Path | None = None
    certificate_path: Path | None = None
    key_path: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    date: str
    asked_at: float
    """Seconds since the epoch, halfway between question and answer."""
    uncertain: float
    """Half the seconds that it took."""


@dataclass
class Exchange:
    """How far it went."""

    ready: Answer | None = None
    caller: Answer | None = None
    certificates: Sequence[bytes] = ()
    """DER, of the service's side: its own first. Empty for plain http."""
    fault: Exception | None = None
    """What ended it."""
    _done: threading.Event = field(default_factory=threading.Event)


def ask(target: Target, *, clock: Callable[[], float] = time.time) -> Exchange:
    """Ask whether the service is ready and whom it takes us for.

    Bounded as a whole, name resolution too: what takes longer is left behind on its thread, which
    ends with the process.
    """
    exchange = Exchange()
    thread = threading.Thread(target=_run, args=(target, exchange, clock), daemon=True)
    try:
        thread.start()
    except RuntimeError as exc:  # there are as many threads as there may be
        return Exchange(fault=exc)
    if not exchange._done.wait(target.seconds):  # noqa: SLF001 - of this file
        return Exchange(fault=TimeoutError(f"no answer within {target.seconds:g} s"))
    return exchange


def _run(target: Target, exchange: Exchange, clock: Callable[[], float]) -> None:
    try:
        connection = _connection(target)
        with contextlib.closing(connection):
            connection.connect()
            exchange.certificates = _certificates(connection)
            exchange.ready = _get(connection, target, paths.HEALTH_READY, clock=clock)
            exchange.caller = _get(connection, target, paths.CALLER, clock=clock)
    except Exception as exc:  # noqa: BLE001 - what ends this thread unsaid, nobody is told of
        exchange.fault = exc
    finally:
        exchange._done.set()  # noqa: SLF001 - of this file


def _connection(target: Target) -> HTTPConnection:
    parts = urlsplit(target.address)
    host = parts.hostname or ""
    if parts.scheme != "https":
        return HTTPConnection(host, parts.port or 80, timeout=target.seconds)
    context = ssl.create_default_context(cafile=target.ca_path)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As the module verifies. From Python 3.13 on the default is stricter in some things (RFC 5280
    # to the letter) and takes any certificate in the file for an authority: it would find fault
    # with a service that logins reach, and none with one that they don't.
    context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
    if target.certificate_path is not None:
        # An empty answer instead of a prompt, should the key have a passphrase.
        context.load_cert_chain(target.certificate_path, target.key_path, password="")
    return HTTPSConnection(host, parts.port or 443, timeout=target.seconds, context=context)


def _certificates(connection: HTTPConnection) -> Sequence[bytes]:
    """Return the chain that was verified, as far as this Python shows it; else its first."""
    sock = connection.sock
    if not isinstance(sock, ssl.SSLSocket):
        return ()
    own = sock.getpeercert(binary_form=True)
    return _verified_chain(sock) or (() if own is None else (own,))


def _verified_chain(sock: ssl.SSLSocket) -> Sequence[bytes]:
    """Return what OpenSSL verified; nothing if it has not kept it, or does not show it."""
    if hasattr(sock, "get_verified_chain"):  # Python 3.13
        return cast("list[bytes] | None", sock.get_verified_chain()) or ()
    inner = getattr(sock, "_sslobj", None)
    if inner is None or not hasattr(inner, "get_verified_chain"):
        return ()
    # The same, before it had a public name.
    return [certificate.public_bytes(_DER) for certificate in inner.get_verified_chain() or ()]


def _get(
    connection: HTTPConnection, target: Target, path: str, *, clock: Callable[[], float]
) -> Answer:
    base = urlsplit(target.address).path.rstrip("/")
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if path == paths.CALLER:
        headers["Authorization"] = f"Bearer {target.token.get_secret_value()}"
    before = clock()
    connection.request("GET", base + path, headers=headers)
    response = connection.getresponse()
    after = clock()
    body = response.read(limits.MAX_ANSWER_BYTES + 1)
    if len(body) > limits.MAX_ANSWER_BYTES:
        raise HTTPException("the answer is too long")
    return Answer(
        status=response.status,
        body=body,
        date=response.headers.get("Date", ""),
        asked_at=(before + after) / 2,
        uncertain=(after - before) / 2,
    )
