"""The funnel: what a call may choose, against a server on loopback."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from twisted.internet import defer

from lalepass_provider.calls import Calls
from lalepass_provider.endpoints import Endpoints
from lalepass_provider.errors import Broken, ContractBroken, Overloaded, TooSlow
from lalepass_provider.files import Fixed, Held
from lalepass_provider.health import Health
from lalepass_provider.metrics import Metrics
from lalepass_provider.transport import Transport
from tests.lalepass_provider.on_reactor import on_reactor, reactor
from tests.lalepass_provider.servers import Connection, serving

TOKEN = "token-canary"


class Rotated:
    """A token whose file another call reads while ours is on its way."""

    def __init__(self) -> None:
        self.version = 0
        self.tokens = ["the-old-token", "the-new-token"]

    def current(self) -> SecretStr:
        return SecretStr(self.tokens[self.version])

    def look_again(self) -> bool:
        return False


def make_calls(
    url: str,
    *,
    deadline: float = 30.0,
    max_in_flight: int = 1,
    token: Held[SecretStr] = Fixed(SecretStr(TOKEN)),  # noqa: B008 - it never changes
) -> Calls:
    transport = Transport(reactor=reactor, url=url, connect_timeout=2.0, max_idle_connections=4)
    health = Health(
        [transport], clock=reactor, probe_seconds=2.0, metrics=Metrics(CollectorRegistry())
    )
    return Calls(
        endpoints=Endpoints(health, clock=reactor),
        token=token,
        deadline=deadline,
        max_in_flight=max_in_flight,
    )


@on_reactor
async def test_a_call_has_a_method_parameters_and_no_body_if_none_is_given() -> None:
    async with serving(lambda connection, request: connection.answer(request)) as server:
        calls = make_calls(server.url)
        sent = await calls.call("GET", "/v1/changes", params={"after": "a/b&c", "wait": 25})
        await calls.aclose()

    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"GET /v1/changes?after=a%2Fb%26c&wait=25 HTTP/1.1\r\n")
    assert b"content-type" not in head.lower()
    assert body == b""


@on_reactor
async def test_a_token_that_another_call_has_read_meanwhile_is_shown() -> None:
    token, shown = Rotated(), []

    def behave(connection: Connection, request: bytes) -> None:
        shown.append(b"the-new-token" in request)
        if shown[-1]:
            connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            token.version = 1
            connection.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    async with serving(behave) as server:
        calls = make_calls(server.url, token=token)
        assert await calls.call("GET", "/v1/caller") == b""
        await calls.aclose()

    assert shown == [False, True]


@on_reactor
async def test_an_answer_may_be_empty() -> None:
    def behave(connection: Connection, _: bytes) -> None:
        connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serving(behave) as server:
        calls = make_calls(server.url)
        assert await calls.call("POST", "/v1/acknowledged", body=b"{}") == b""
        await calls.aclose()


@on_reactor
async def test_a_call_may_have_a_deadline_of_its_own() -> None:
    def behave(connection: Connection, _: bytes) -> None:
        if connection.requests == 1:
            connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serving(behave) as server:
        calls = make_calls(server.url)
        await calls.call("GET", "/")  # so that there is a connection
        with pytest.raises(TooSlow, match=r"within 0\.2 s"):
            await calls.call("GET", "/", deadline=0.2)
        await calls.aclose()


@pytest.mark.parametrize("allowed", [False, True])
@on_reactor
async def test_a_call_may_have_a_cap_of_its_own(allowed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    size = 80_000  # above what an answer to a check may have
    async with serving(lambda connection, _: connection.answer(b"x" * size)) as server:
        calls = make_calls(server.url)
        if allowed:
            assert len(await calls.call("GET", "/", max_answer_bytes=size)) == size
        else:
            with pytest.raises(Broken, match="longer than"):
                await calls.call("GET", "/")
        await calls.aclose()


@on_reactor
async def test_calls_in_the_background_and_checks_do_not_keep_each_other_out() -> None:
    async with serving(lambda *_: None) as server:
        calls = make_calls(server.url, max_in_flight=1)

        def begin(*, background: bool) -> defer.Deferred[Any]:
            return defer.ensureDeferred(calls.call("GET", "/", background=background))

        checks = [begin(background=False) for _ in range(2)]
        others = [begin(background=True) for _ in range(9)]

        # One of each is one too many.
        for refused in (checks.pop(), others.pop()):
            with pytest.raises(Overloaded):
                await refused
        assert not any(call.called for call in checks + others)
        for call in checks + others:
            call.cancel()
            with pytest.raises(defer.CancelledError):
                await call
        # A place is free again.
        again = begin(background=False)
        assert not again.called
        again.cancel()
        with pytest.raises(defer.CancelledError):
            await again
        await calls.aclose()


@on_reactor
async def test_what_is_no_json_is_not_believed() -> None:
    def behave(connection: Connection, _: bytes) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with serving(behave) as server:
        calls = make_calls(server.url)
        with pytest.raises(ContractBroken):
            await calls.call("GET", "/")
        await calls.aclose()
