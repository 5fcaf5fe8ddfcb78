"""Asks a host of the Pwned Passwords kind whether a password has been stolen somewhere.

The host is told the first five of the forty signs of a SHA-1 digest, and answers with all that
begin so, hundreds of them. It can't know which one was meant, and whether it was there; with
padding, neither can anybody who sees how long the answer is. Nothing is kept, neither a digest nor
an answer. https://haveibeenpwned.com/API/v3#PwnedPasswords.

The standard library's client on threads of its own is enough for a question that is asked when
somebody chooses a password. It follows no redirects and knows no proxies.
"""

import asyncio
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from lalepass_service.core.errors import BreachRangeUnavailable
from lalepass_service.core.model import Password

_THREADS: Final = 4
_MAX_WAITING: Final = 16
"""Questions at a time, those on a thread included. One more is not asked: nobody should wait
behind a host that is slow."""

_MAX_ANSWER: Final = 1024 * 1024
"""Padded answers have about 60 kB."""

_PREFIX: Final = 5
_LINE: Final = re.compile(rb"([0-9A-Fa-f]{35}):([0-9]{1,18})")
_OK: Final = 200


class HibpRange:
    """Implements `core.ports.BreachRange`."""

    def __init__(self, url: str, *, deadline: float = 3.0) -> None:
        """Get ready to ask.

        Args:
            url: what the five signs are put behind, such as https://api.pwnedpasswords.com/range.
                Checked by the settings: https, or http on this machine.
            deadline: seconds for one question, from the name's look-up to the answer's last byte.
        """
        parts = urlsplit(url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port
        self._path = parts.path.rstrip("/")
        self._deadline = deadline
        self._asked = 0
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="breaches")

    async def contains(self, password: Password) -> bool:
        """Say whether the host knows the password, which is in NFC.

        Raises:
            BreachRangeUnavailable: it gave no answer.
        """
        # Not for security: it is the form in which the host knows them.
        digest = hashlib.sha1(password.reveal().encode(), usedforsecurity=False).hexdigest().upper()
        body = await self._ask(digest[:_PREFIX])
        return _counts(body).get(digest[_PREFIX:].encode(), 0) > 0

    def close(self) -> None:
        """Ask no more. Questions under way end with their deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, prefix: str) -> bytes:
        if self._asked >= _MAX_WAITING:
            raise BreachRangeUnavailable("too many questions are waiting for it")
        question = _Question(
            connection=self._connection(),
            path=f"{self._path}/{prefix}",
            ends_at=time.monotonic() + self._deadline,
        )
        self._asked += 1
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.wrap_future(self._threads.submit(question.ask))
        except TimeoutError:
            raise BreachRangeUnavailable("it took too long") from None
        finally:
            self._asked -= 1
            question.hang_up()

    def _connection(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=self._deadline)
        return HTTPSConnection(self._host, self._port, timeout=self._deadline, context=self._tls)


@dataclass
class _Question:
    """One request, on a thread, that can be ended from another."""

    connection: HTTPConnection
    path: str
    ends_at: float
    held: socket.socket | None = None

    def ask(self) -> bytes:
        """Return the body of a 200.

        Raises:
            BreachRangeUnavailable: there is none.
        """
        with _translated():
            try:
                return self._body()
            finally:
                self.connection.close()

    def _body(self) -> bytes:
        self.connection.timeout = self._left()
        self.connection.connect()
        # A connection that is to be closed behind the answer forgets its socket earlier.
        self.held = self.connection.sock
        self._left()
        self.connection.request("GET", self.path, headers=_HEADERS)
        with self.connection.getresponse() as answer:
            if answer.status != _OK:
                raise BreachRangeUnavailable(f"it said {answer.status}")
            body = bytearray()
            while block := answer.read1(65536):
                body += block
                if len(body) > _MAX_ANSWER:
                    raise BreachRangeUnavailable("its answer is too long")
                self._left()
            if answer.length:
                raise BreachRangeUnavailable("its answer was cut off")
        return bytes(body)

    def _left(self) -> float:
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def hang_up(self) -> None:
        """End a thread that waits for the next byte, however slowly they come."""
        self.ends_at = 0.0
        if self.held is not None:
            with suppress(OSError):
                self.held.shutdown(socket.SHUT_RDWR)


_HEADERS: Final = {
    "Add-Padding": "true",
    "Accept": "text/plain",
    "Accept-Encoding": "identity",
    # The host refuses questions without one.
    "User-Agent": "lalepass",
    "Connection": "close",
}


def _counts(body: bytes) -> dict[bytes, int]:
    """Read the lines; padding has the count 0."""
    lines = [_LINE.fullmatch(line) for line in body.split()]
    # There is something behind every prefix, so nothing at all is no answer either.
    if not lines or not all(lines):
        raise BreachRangeUnavailable("its answer is not of the kind that is known")
    return {parts[1].upper(): int(parts[2]) for parts in lines if parts}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise BreachRangeUnavailable("it took too long") from exc
    except ssl.SSLCertVerificationError as exc:
        raise BreachRangeUnavailable(f"its certificate: {exc.verify_message}") from exc
    except (OSError, HTTPException, UnicodeError) as exc:
        why = getattr(exc, "strerror", None) or type(exc).__name__
        raise BreachRangeUnavailable(why) from exc
