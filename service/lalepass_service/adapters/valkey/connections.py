"""Single connections to Valkey: whom they trust, how they log in, how much they read."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from valkey import exceptions
from valkey._parsers import _AsyncRESP2Parser
from valkey.asyncio import BlockingConnectionPool, Connection
from valkey.credentials import CredentialProvider

Word = bytes | str | int
Reply = Any
"""What a server may answer: bytes, a number, None, or a list of these."""

_MAX_CONNECTIONS: Final = 32
_MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes. The longest that is asked for is an account with thousands of sources."""
_MAX_PASSWORD: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where Valkey is, and how to get in."""

    host: str
    port: int
    database: int = 0
    user: str = ""
    """Empty for the default user."""
    password_path: Path | None = None
    """Read for each connection, so that a new password needs no restart."""
    tls: ssl.SSLContext | None = None


async def answers(connection: Connection, count: int) -> list[Reply]:
    """Read all answers, also behind an error, or the connection could not be used again."""
    replies, failure = [], None
    for _ in range(count):
        try:
            replies.append(await connection.read_response())
        except exceptions.ResponseError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return replies


class _CappedParser(_AsyncRESP2Parser):
    """Reads answers, and not without end."""

    _left = _MAX_ANSWER

    async def read_response(self, disable_decoding: bool = False) -> Reply:  # noqa: FBT001, FBT002 - of its base
        self._left = _MAX_ANSWER
        return await super().read_response(disable_decoding)

    async def _read(self, length: int) -> bytes:
        self._count(length)
        return await super()._read(length)

    async def _readline(self) -> bytes:
        line = await super()._readline()
        self._count(len(line) + 1)
        return line

    def _count(self, octets: int) -> None:
        self._left -= octets
        if self._left < 0:
            raise exceptions.InvalidResponse("the answer is too long")


class _TlsConnection(Connection):
    """A connection with our own context, which trusts nobody but whom it was told to."""

    def __init__(self, *, tls: ssl.SSLContext, **settings: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(**settings)
        self._tls = tls

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls}


class _PasswordFile(CredentialProvider):
    """Reads the password when it is needed, and keeps it nowhere."""

    def __init__(self, user: str, path: Path) -> None:
        self._user = user
        self._path = path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        with self._path.open(encoding="utf-8") as file:
            password = file.read(_MAX_PASSWORD).strip()
        return (self._user, password) if self._user else (password,)


def open_pool(
    target: Target, *, timeout: float, greet: Callable[..., Any]
) -> BlockingConnectionPool:
    """Return the connections to a server, none of them open yet.

    Args:
        target: where it is.
        timeout: seconds to wait for a free connection, for a new one, and for each answer.
        greet: called with each new one, to log in.
    """
    settings: dict[str, Any] = {
        "host": target.host,
        "port": target.port,
        "db": target.database,
        "timeout": timeout,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        "parser_class": _CappedParser,
        "lib_name": None,
        "lib_version": None,
        "valkey_connect_func": greet,
    }
    if target.password_path is not None:
        settings["credential_provider"] = _PasswordFile(target.user, target.password_path)
    if target.tls is not None:
        settings |= {"connection_class": _TlsConnection, "tls": target.tls}
    return BlockingConnectionPool(_MAX_CONNECTIONS, **settings)
