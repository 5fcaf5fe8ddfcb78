"""The transport against servers on loopback that behave well, badly, or not at all."""

import socket
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    SENTINEL_CONTEXT,
    LoggingContext,
    current_context,
    make_deferred_yieldable,
)
from twisted.internet import defer, task

from lalepass_provider.transport import AnswerTooLarge, TwistedTransport
from tests.lalepass_provider.on_reactor import on_reactor, reactor
from tests.lalepass_provider.servers import Connection, serving
from tests.lalepass_provider.tls_peer import TlsPeer

CAP = 1000


def make_transport(*, deadline: float = 5.0, **options: Any) -> TwistedTransport:
    return TwistedTransport(
        reactor=reactor,
        connect_timeout=2.0,
        deadline=deadline,
        max_answer_bytes=CAP,
        max_idle_connections=4,
        **options,
    )


async def post(transport: TwistedTransport, url: str, body: bytes = b"{}") -> httpx.Response:
    client = httpx.AsyncClient(transport=transport, timeout=None, trust_env=False)  # noqa: S113 - the transport has a deadline
    try:
        return await client.post(url, content=body, headers={"X-Test": "yes"})
    finally:
        await client.aclose()


def ok(connection: Connection, _: bytes) -> None:
    connection.answer(b"hello")


@on_reactor
async def test_a_request_arrives_whole_and_the_answer_comes_back() -> None:
    def behave(connection: Connection, request: bytes) -> None:
        connection.answer(request, status=b"418 Teapot", extra=b"X-Answer: 1\r\nX-Answer: 2\r\n")

    async with serving(behave) as server:
        response = await post(make_transport(), f"{server.url}/a/b?c=d", b"the body")

    head, _, body = response.content.partition(b"\r\n\r\n")
    assert response.status_code == 418
    assert response.headers.get_list("X-Answer") == ["1", "2"]
    assert head.startswith(b"POST /a/b?c=d HTTP/1.1\r\n")
    assert head.lower().count(b"content-length:") == 1
    assert head.lower().count(b"\r\nhost:") == 1
    assert b"X-Test: yes" in head
    assert body == b"the body"


@on_reactor
async def test_one_connection_serves_many_requests() -> None:
    async with serving(ok) as server:
        transport = make_transport()
        for _ in range(5):
            response = await transport.handle_async_request(httpx.Request("POST", server.url))
            assert response.content == b"hello"

        assert len(server.connections) == 1
        assert len(server.requests) == 5
        await transport.aclose()
        await server.no_connections()


@on_reactor
async def test_a_kept_connection_that_was_just_closed_costs_nobody_an_answer() -> None:
    def behave(connection: Connection, _: bytes) -> None:
        if connection.requests == 2:
            connection.abort()
        else:
            connection.answer(b"hello")

    async with serving(behave) as server:
        transport = make_transport()
        first = await transport.handle_async_request(httpx.Request("POST", server.url))
        second = await transport.handle_async_request(httpx.Request("POST", server.url))

        assert (first.content, second.content) == (b"hello", b"hello")
        assert len(server.requests) == 3
        await transport.aclose()


@on_reactor
async def test_a_server_that_always_hangs_up_is_asked_twice_and_no_more() -> None:
    async with serving(lambda connection, _: connection.abort()) as server:
        with pytest.raises(httpx.TransportError):
            await post(make_transport(), server.url)

        assert len(server.requests) == 2


@on_reactor
async def test_nobody_listening_is_a_connect_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(httpx.ConnectError):
            await post(make_transport(), f"http://127.0.0.1:{port}/")


@on_reactor
async def test_a_host_that_swallows_connections_is_a_timeout() -> None:
    # A full accept queue: the kernel drops further attempts, as a firewall would.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        transport = make_transport(deadline=0.5)
        with pytest.raises(httpx.TimeoutException):
            await post(transport, f"http://127.0.0.1:{full.getsockname()[1]}/")


def silent(_: Connection, __: bytes) -> None:
    """Take the request and never say anything."""


def half_a_header(connection: Connection, _: bytes) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")


def half_a_body(connection: Connection, _: bytes) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")


def drip(connection: Connection, data: bytes) -> None:
    def one_byte() -> None:
        if connection in connection.server.connections:
            connection.send(data)
        else:
            dripping.stop()

    dripping = task.LoopingCall(one_byte)
    dripping.start(0.01)


def dripping_header(connection: Connection, _: bytes) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(connection, b"x")


def dripping_body(connection: Connection, _: bytes) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
    drip(connection, b"x")


@pytest.mark.parametrize(
    "behaviour", [silent, half_a_header, half_a_body, dripping_header, dripping_body]
)
@on_reactor
async def test_a_slow_answer_ends_at_the_deadline_and_the_connection_with_it(
    behaviour: Any,
) -> None:
    async with serving(behaviour) as server:
        with pytest.raises(httpx.ReadTimeout):
            await post(make_transport(deadline=0.3), server.url)

        await server.no_connections()


def endless(connection: Connection, _: bytes) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    drip(connection, b"10\r\n0123456789abcdef\r\n" * 10)


def one_byte_too_long(connection: Connection, _: bytes) -> None:
    connection.answer(b"x" * (CAP + 1))


@pytest.mark.parametrize("behaviour", [endless, one_byte_too_long])
@on_reactor
async def test_an_answer_over_the_cap_is_cut_off(behaviour: Any) -> None:
    async with serving(behaviour) as server:
        with pytest.raises(AnswerTooLarge):
            await post(make_transport(), server.url)

        await server.no_connections()


@on_reactor
async def test_an_answer_as_long_as_the_cap_is_taken() -> None:
    async with serving(lambda connection, _: connection.answer(b"x" * CAP)) as server:
        response = await post(make_transport(), server.url)

    assert len(response.content) == CAP


def cut_off(connection: Connection, _: bytes) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
    connection.close()


def without_an_end(connection: Connection, _: bytes) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    connection.close()


def no_http(connection: Connection, _: bytes) -> None:
    connection.send(b"220 mail.example.org ESMTP\r\n")
    connection.close()


def bad_chunks(connection: Connection, _: bytes) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")


def compressed(connection: Connection, _: bytes) -> None:
    connection.answer(b"\x1f\x8b...", extra=b"Content-Encoding: gzip\r\n")


@pytest.mark.parametrize("behaviour", [cut_off, without_an_end, no_http, bad_chunks, compressed])
@on_reactor
async def test_half_an_answer_or_none_at_all_is_an_error_and_no_answer(behaviour: Any) -> None:
    async with serving(behaviour) as server:
        with pytest.raises(httpx.TransportError):
            await post(make_transport(), server.url)

        await server.no_connections()


@pytest.mark.parametrize("line", [b"X-Header: 1\r\n", b" and so on\r\n"], ids=["lines", "one"])
@on_reactor
async def test_a_head_without_an_end_is_cut_off(line: bytes) -> None:
    def behave(connection: Connection, _: bytes) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nX-First: 1\r\n" + line * 10_000)

    async with serving(behave) as server:
        with pytest.raises(httpx.TransportError):
            await post(make_transport(deadline=30), server.url)

        await server.no_connections()


@on_reactor
async def test_no_cookie_is_kept() -> None:
    def behave(connection: Connection, request: bytes) -> None:
        connection.answer(request, extra=b"Set-Cookie: a=b\r\nX-Other: 1\r\n")

    async with (
        serving(behave) as server,
        httpx.AsyncClient(transport=make_transport(), trust_env=False) as client,
    ):
        first = await client.post(server.url)
        second = await client.post(server.url)

    assert first.headers["X-Other"] == "1"
    assert b"cookie" not in second.content.lower()


@on_reactor
async def test_a_tls_peer_that_never_hangs_up_is_hung_up_on() -> None:
    with TlsPeer() as peer:
        transport = make_transport(tls_policy=peer.trusted)
        response = await post(transport, peer.url)

        assert response.content == b"hello"
        # `Connection: close` was said, and it is for us to close it for certain.
        assert await peer.hung_up()


@on_reactor
async def test_a_redirect_is_not_followed() -> None:
    def behave(connection: Connection, _: bytes) -> None:
        connection.answer(b"", status=b"302 Found", extra=b"Location: /elsewhere\r\n")

    async with serving(behave) as server:
        response = await post(make_transport(), server.url)

        assert response.status_code == 302
        assert len(server.requests) == 1


@on_reactor
async def test_tls_with_something_that_does_not_speak_it_is_an_error() -> None:
    async with serving(ok) as server:
        with pytest.raises(httpx.TransportError):
            await post(make_transport(deadline=0.3), server.url.replace("http:", "https:"))


@on_reactor
async def test_a_cancelled_call_closes_its_connection() -> None:
    async with serving(silent) as server:
        call = defer.ensureDeferred(post(make_transport(), server.url))
        while not server.requests:
            await task.deferLater(reactor, 0.01)
        call.cancel()
        with pytest.raises(defer.CancelledError):
            await call

        await server.no_connections()


@on_reactor
async def test_nothing_is_left_on_the_reactor() -> None:
    before = len(reactor.getDelayedCalls())
    async with serving(ok) as server:
        await post(make_transport(), server.url)
        await server.no_connections()

    assert len(reactor.getDelayedCalls()) <= before


def under(context: LoggingContext, work: Coroutine[Any, Any, Any]) -> defer.Deferred[Any]:
    """Run a coroutine as Synapse runs a request: in its log context, and out of it again."""

    async def inside() -> Any:
        with context:
            return await work

    return defer.ensureDeferred(inside())


@on_reactor
async def test_synapse_keeps_its_log_context_over_a_call() -> None:
    seen = []
    transport = make_transport(yieldable=make_deferred_yieldable)

    async with serving(ok) as server:

        async def call() -> None:
            seen.append(current_context())
            await transport.handle_async_request(httpx.Request("POST", server.url))
            seen.append(current_context())

        context = LoggingContext(name="login", server_name="test")
        running = under(context, call())
        outside = current_context()
        await running
        await transport.aclose()

    assert seen == [context, context]
    assert outside is SENTINEL_CONTEXT
    assert current_context() is SENTINEL_CONTEXT
