"""The transport against servers on loopback that behave well, badly, or not at all."""

import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    SENTINEL_CONTEXT,
    LoggingContext,
    current_context,
    make_deferred_yieldable,
)
from twisted.internet import defer, task

from lalepass_provider.errors import Broken, Lost, NotConnected, TooSlow
from lalepass_provider.tls import ClientTls, TlsFiles
from lalepass_provider.transport import Answer, Request, Transport
from tests.lalepass_provider.on_reactor import on_reactor, reactor
from tests.lalepass_provider.servers import Connection, serving
from tests.lalepass_provider.tls_peer import TlsPeer

CAP = 1000


def make_transport(url: str, *, connect_timeout: float = 2.0, **options: Any) -> Transport:
    return Transport(
        reactor=reactor,
        url=url,
        connect_timeout=connect_timeout,
        max_idle_connections=4,
        **options,
    )


def request(target: str = "/", body: bytes = b"{}") -> Request:
    return Request(
        method="POST",
        target=target,
        headers={"X-Test": "yes"},
        body=body,
        max_answer_bytes=CAP,
    )


async def post(
    url: str, target: str = "/", body: bytes = b"{}", *, deadline: float = 5.0, **options: Any
) -> Answer:
    transport = make_transport(url, **options)
    try:
        return await transport.send(request(target, body), seconds=deadline)
    finally:
        await transport.drop_idle()


def ok(connection: Connection, _: bytes) -> None:
    connection.answer(b"hello")


@on_reactor
async def test_a_request_arrives_whole_and_the_answer_comes_back() -> None:
    def behave(connection: Connection, request: bytes) -> None:
        connection.answer(request, status=b"418 Teapot", extra=b"X-Answer: 1\r\nX-Answer: 2\r\n")

    async with serving(behave) as server:
        response = await post(f"{server.url}/", "/a/b?c=d", b"the body")

    head, _, body = response.body.partition(b"\r\n\r\n")
    assert response.status == 418
    assert response.header("X-Answer") == "2"
    assert head.startswith(b"POST /a/b?c=d HTTP/1.1\r\n")
    assert head.lower().count(b"content-length:") == 1
    assert head.lower().count(b"\r\nhost:") == 1
    assert b"X-Test: yes" in head
    assert body == b"the body"


@on_reactor
async def test_one_connection_serves_many_requests() -> None:
    async with serving(ok) as server:
        transport = make_transport(server.url)
        for _ in range(5):
            response = await transport.send(request(), seconds=5)
            assert response.body == b"hello"

        assert len(server.connections) == 1
        assert len(server.requests) == 5
        await transport.drop_idle()
        await server.no_connections()


@on_reactor
async def test_a_connection_that_ends_before_a_byte_is_lost_and_not_tried_again() -> None:
    async with serving(lambda connection, _: connection.abort()) as server:
        with pytest.raises(Lost):
            await post(server.url)

        assert len(server.requests) == 1


@on_reactor
async def test_nobody_listening_is_a_connect_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(NotConnected):
            await post(f"http://127.0.0.1:{port}/")


@on_reactor
async def test_a_host_that_swallows_connections_is_a_timeout() -> None:
    # A full accept queue: the kernel drops further attempts, as a firewall would.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        with pytest.raises(NotConnected, match=r"within 0\.3 s"):
            await post(url, deadline=0.3)
        with pytest.raises(NotConnected, match="took too long"):
            await post(url, connect_timeout=0.3)


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
        with pytest.raises(TooSlow) as raised:
            await post(server.url, deadline=1.0)  # time for the first bytes, also on a busy machine

        assert raised.value.begun is (behaviour is not silent)
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
        with pytest.raises(Broken, match=r"longer than|cut"):
            await post(server.url)

        await server.no_connections()


@on_reactor
async def test_an_answer_as_long_as_the_cap_is_taken() -> None:
    async with serving(lambda connection, _: connection.answer(b"x" * CAP)) as server:
        response = await post(server.url)

    assert len(response.body) == CAP


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
        with pytest.raises(Broken):
            await post(server.url)

        await server.no_connections()


@pytest.mark.parametrize("line", [b"X-Header: 1\r\n", b" and so on\r\n"], ids=["lines", "one"])
@on_reactor
async def test_a_head_without_an_end_is_cut_off(line: bytes) -> None:
    def behave(connection: Connection, _: bytes) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nX-First: 1\r\n" + line * 10_000)

    async with serving(behave) as server:
        with pytest.raises(Broken):  # and not TooSlow: what comes is not kept until then
            await post(server.url, deadline=30)

        await server.no_connections()


@on_reactor
async def test_a_tls_peer_that_never_hangs_up_is_hung_up_on(tmp_path: Path) -> None:
    with TlsPeer(tmp_path) as peer:
        response = await post(peer.url, tls=peer.trusted)

        assert response.body == b"hello"
        # `Connection: close` was said, and it is for us to close it for certain.
        assert await peer.hung_up()


@on_reactor
async def test_a_redirect_is_not_followed() -> None:
    def behave(connection: Connection, _: bytes) -> None:
        connection.answer(b"", status=b"302 Found", extra=b"Location: /elsewhere\r\n")

    async with serving(behave) as server:
        response = await post(server.url)

        assert response.status == 302
        assert len(server.requests) == 1


@on_reactor
async def test_tls_with_something_that_does_not_speak_it_is_an_error() -> None:
    async with serving(ok) as server:
        url = server.url.replace("http:", "https:")
        # It takes what comes first for a request that is not whole yet, and waits.
        with pytest.raises(NotConnected, match="took too long"):
            await post(url, tls=ClientTls(TlsFiles()), connect_timeout=0.3)


@on_reactor
async def test_a_cancelled_call_closes_its_connection() -> None:
    async with serving(silent) as server:
        call = defer.ensureDeferred(post(server.url))
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
        await post(server.url)
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
    async with serving(ok) as server:
        transport = make_transport(server.url)

        async def call() -> None:
            seen.append(current_context())
            await make_deferred_yieldable(transport.send(request(), seconds=5))
            seen.append(current_context())

        context = LoggingContext(name="login", server_name="test")
        running = under(context, call())
        outside = current_context()
        await running
        await transport.drop_idle()

    assert seen == [context, context]
    assert outside is SENTINEL_CONTEXT
    assert current_context() is SENTINEL_CONTEXT
