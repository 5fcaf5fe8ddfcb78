"""The module as Synapse loads it, what its service says, and a login."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    ContextRequest,
    LoggingContext,
)
from twisted.internet import defer

from tests.lalepass_provider import loaded
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.servers import Connection, Server

TOKEN = "lalepass_0123456789ab_" + "t" * 43
PASSWORD = "password-canary"
CHANGE_IT = "Your password has to be changed before you can log in."
ALICE = {"id": "1", "localpart": "alice", "display_name": "Alice"}

Checker = Callable[..., Awaitable[tuple[str, None] | None]]


def says(**answer: Any) -> Callable[[Connection, bytes], None]:
    body = json.dumps(answer).encode()
    return lambda connection, _: connection.answer(body)


def problem(status: bytes, code: str, extra: bytes = b"") -> Callable[[Connection, bytes], None]:
    body = json.dumps({"type": "x", "title": "x", "status": 1, "code": code}).encode()
    return lambda connection, _: connection.answer(body, status=status, extra=extra)


def load(
    server: Server, homeserver: FakeHomeserver | None = None, **options: Any
) -> tuple[Checker, Checker]:
    """Load the module as Synapse does, and return what it registered."""
    homeserver = homeserver or FakeHomeserver()
    loaded.load(homeserver, url=server.url, token=TOKEN, **options)
    callbacks = homeserver.callbacks
    return callbacks["auth_checkers"]["m.login.password", ("password",)], callbacks[
        "check_3pid_auth"
    ]


async def log_in(checker: Checker, typed: str = "alice", password: Any = PASSWORD) -> Any:
    return await checker(typed, "m.login.password", {"password": password})


async def in_one_request(*logins: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Call the checkers as Synapse does while it works on a request."""
    request = ContextRequest("POST-1", "192.0.2.1", "", None, None, "POST", "/", "1.1", "")

    async def as_synapse_does() -> list[Any]:
        with LoggingContext(name="login", server_name="test", request=request):
            return [await login() for login in logins]

    return await defer.ensureDeferred(as_synapse_does())


def fail(a_local_variable: str) -> None:
    assert a_local_variable
    raise RuntimeError("something is on fire")
