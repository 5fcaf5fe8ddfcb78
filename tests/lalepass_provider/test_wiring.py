"""The parts together, as the configuration has them put together, on real connections."""

import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from twisted.internet import defer, task

from lalepass_provider import config, wiring
from lalepass_provider.client import LalepassClient
from lalepass_provider.errors import CallerRejected, NotConnected, TooSlow, Unreachable
from lalepass_wire import CheckRequest, Refused, UserIdentifier
from tests.lalepass_provider.on_reactor import on_reactor, reactor
from tests.lalepass_provider.servers import Connection, serving

OLD, NEW = ("lalepass_0123456789ab_" + letter * 43 for letter in "on")
CHECK = CheckRequest(identifier=UserIdentifier(localpart="alice"), password=SecretStr("canary"))


@asynccontextmanager
async def client_of(**options: Any) -> AsyncIterator[LalepassClient]:
    options = {"token": OLD, **options} if "token_path" not in options else options
    client = wiring.client(config.parse(options), reactor=reactor)
    try:
        yield client
    finally:
        await client.aclose()


async def check(client: LalepassClient) -> object:
    return await client.check(CHECK, request_id=None)


def refuses(connection: Connection, _: bytes) -> None:
    connection.answer(b'{"result": "refused"}')


@contextmanager
def nobody() -> Iterator[str]:
    """Yield an address where connections are refused, and where a server may begin to listen."""
    with socket.socket() as unused:
        unused.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """Yield an address that swallows attempts to connect: its accept queue is full."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


@on_reactor
async def test_a_dead_replica_fails_no_login() -> None:
    async with serving(refuses) as server:
        with nobody() as dead:
            async with client_of(urls=[dead, server.url]) as client:
                answers = [await check(client) for _ in range(10)]

    assert answers == [Refused()] * 10
    assert len(server.requests) == 10


@on_reactor
async def test_a_replica_that_swallows_connections_is_paid_for_once() -> None:
    async with serving(refuses) as server:
        with black_hole() as hole:
            async with client_of(
                urls=[hole, server.url], timeout=30, connect_timeout=1.5
            ) as client:
                first = [defer.ensureDeferred(check(client)) for _ in range(10)]
                answers = await defer.gatherResults(first)
                paid = failures_of(hole)
                answers += [await check(client) for _ in range(10)]

                assert answers == [Refused()] * 20
                assert 1 <= paid <= 10
                assert failures_of(hole) == paid


def failures_of(url: str) -> float:
    """Return how many calls an endpoint has failed."""
    labels = {"endpoint": url.removeprefix("http://"), "kind": "NotConnected"}
    return REGISTRY.get_sample_value("lalepass_provider_endpoint_failures_total", labels) or 0


@on_reactor
async def test_a_service_that_comes_back_is_there_at_once() -> None:
    with nobody() as url:
        port = int(url.rpartition(":")[2])
        async with client_of(url=url) as client:
            for _ in range(20):
                with pytest.raises(NotConnected):
                    await check(client)
            async with serving(refuses, port=port):
                assert await check(client) == Refused()


@on_reactor
async def test_a_replica_that_comes_back_is_asked_again() -> None:
    with nobody() as url:
        port = int(url.rpartition(":")[2])
        async with serving(refuses) as well, client_of(urls=[url, well.url]) as client:
            for _ in range(2):
                await check(client)
            async with serving(refuses, port=port) as back:
                for _ in range(500):
                    await check(client)
                    if len(back.requests) > 2:
                        break
                    await task.deferLater(reactor, 0.02)

                assert back.requests[0].startswith(b"GET /health/ready ")
                assert b"uthorization" not in back.requests[0]
                assert back.requests[-1].startswith(b"POST /v1/credentials/check ")


@on_reactor
async def test_a_kept_connection_that_was_just_closed_costs_nobody_an_answer() -> None:
    def behave(connection: Connection, _: bytes) -> None:
        if connection.requests == 2:
            connection.abort()
        else:
            connection.answer(b'{"result": "refused"}')

    async with serving(behave) as server, client_of(url=server.url) as client:
        assert [await check(client) for _ in range(2)] == [Refused()] * 2
        assert len([one for one in server.requests if one.startswith(b"POST")]) == 3


@on_reactor
async def test_connections_that_went_dead_together_cost_one_login_and_not_each_one() -> None:
    """As behind a firewall that has forgotten them: what is sent there is answered by nobody."""
    dead: list[Connection] = []

    def behave(connection: Connection, request: bytes) -> None:
        if connection not in dead:
            refuses(connection, request)

    async with serving(behave) as server, client_of(url=server.url, timeout=2) as client:
        await defer.gatherResults([defer.ensureDeferred(check(client)) for _ in range(5)])
        assert len(server.connections) == 5
        dead += server.connections

        with pytest.raises(TooSlow):
            await check(client)
        assert await check(client) == Refused()


@on_reactor
async def test_ipv6_is_spoken() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("there is no IPv6 loopback")
        probe.listen()
        probe.settimeout(0)
        port = probe.getsockname()[1]
        async with client_of(url=f"http://[::1]:{port}", timeout=30) as client:
            call = defer.ensureDeferred(check(client))
            for _ in range(500):
                try:
                    accepted, _ = probe.accept()
                    break
                except BlockingIOError:
                    await task.deferLater(reactor, 0.01)
            else:
                raise AssertionError("nobody came")
            with accepted:
                request = await received(accepted)
                probe.close()  # so that the second try is refused
            assert f"host: [::1]:{port}\r\n".encode() in request.lower()
            with pytest.raises(Unreachable):
                await call


async def received(peer: socket.socket) -> bytes:
    """Return what has come, up to the end of the header."""
    peer.settimeout(0)
    request = b""
    for _ in range(500):
        with suppress(BlockingIOError):
            request += peer.recv(65536)
        if b"\r\n\r\n" in request:
            return request
        await task.deferLater(reactor, 0.01)
    raise AssertionError("nothing came")


def knows(token: list[str]) -> Any:
    """Return a service that knows one token."""

    def behave(connection: Connection, request: bytes) -> None:
        if f"Bearer {token[0]}".encode() in request:
            refuses(connection, request)
        else:
            body = {"type": "x", "title": "x", "status": 401, "code": "caller_unknown"}
            connection.answer(json.dumps(body).encode(), status=b"401 Who")

    return behave


@on_reactor
async def test_a_token_is_rotated_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(OLD)
    known = [OLD]
    async with (
        serving(knows(known)) as server,
        client_of(url=server.url, token_path=str(path)) as client,
    ):
        assert await check(client) == Refused()
        path.write_text(NEW)
        known[0] = NEW
        # Within the same second: the 401 makes the module look at the file.
        assert await check(client) == Refused()
        assert await check(client) == Refused()
        assert len([one for one in server.requests if one.startswith(b"POST")]) == 4


@on_reactor
async def test_a_token_that_is_not_accepted_is_not_tried_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(OLD)
    async with (
        serving(knows(["another"])) as server,
        client_of(url=server.url, token_path=str(path)) as client,
    ):
        with pytest.raises(CallerRejected):
            await check(client)
        assert len(server.requests) == 1

        path.write_text("no token at all")
        with pytest.raises(CallerRejected):
            await check(client)
        assert len([one for one in server.requests if one.startswith(b"POST")]) == 2
