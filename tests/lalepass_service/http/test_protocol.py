"""The server over a real socket: what uvicorn does with bytes, and what we add to it."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any
from unittest.mock import MagicMock

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from lalepass_service import app
from lalepass_service.config import Server
from lalepass_service.http import turnstile
from lalepass_service.http.protocol import MAX_HEAD_BYTES, MOST_AHEAD, BoundedProtocol
from lalepass_wire import paths
from tests.lalepass_service.http.world import World
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio

_PATIENCE = 20
"""Seconds after which the server has certainly forgotten us."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Impatient(BoundedProtocol):
    head_seconds = 0.2


@asynccontextmanager
async def _serving(
    world: World,
    *,
    request_timeout: float = 30,
    max_connections: int = 64,
    protocol: type[BoundedProtocol] = BoundedProtocol,
    send_buffer: int = 0,
) -> AsyncIterator[int]:
    """Serve on a free port."""
    settings = app.uvicorn_settings(
        Server(max_connections=max_connections), world.app(request_timeout=request_timeout)
    )
    settings.http = protocol
    server = _Server(settings)
    with app.listen(Server.model_construct(host="127.0.0.1", port=0, backlog=64)) as listener:
        port: int = listener.getsockname()[1]
        if send_buffer:
            # Those that are taken in have it from this one.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield port
        finally:
            server.should_exit = True
            await serving


class _Caller:
    """A caller that is free to send anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *data: bytes) -> None:
        self._writer.write(b"".join(data))
        await self._writer.drain()

    def write(self, data: bytes) -> None:
        """Send before anything else happens here."""
        self._writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """Return the status and the head of one answer, and read over its body."""
        async with asyncio.timeout(_PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
            await self._reader.readexactly(int(length))
        return int(head.split()[1]), head.lower()

    async def read_all(self) -> bytes:
        """Return what comes until the server closes the connection."""
        async with asyncio.timeout(_PATIENCE):
            return await self._reader.read()

    async def hung_up(self) -> bool:
        """Wait until the server has closed the connection."""
        async with asyncio.timeout(_PATIENCE):
            with suppress(ConnectionError):
                await self._reader.read()
        return self._reader.at_eof() or self._reader.exception() is not None


@asynccontextmanager
async def _calling(port: int) -> AsyncIterator[_Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield _Caller(reader, writer)
    finally:
        writer.close()


def _head(world: World, *headers: str, token: bool = True) -> bytes:
    lines = [
        f"POST {paths.CHECK_CREDENTIALS} HTTP/1.1",
        "Host: lalepass",
        "Content-Type: application/json",
        *([f"Authorization: Bearer {world.token}"] if token else []),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


_BODY = b'{"identifier":{"kind":"user","localpart":"alice"},"password":"correct horse"}'


def _good(world: World) -> bytes:
    return _head(world, f"Content-Length: {len(_BODY)}") + _BODY


async def _is_answered(caller: _Caller, world: World) -> None:
    """Ask with a good token, and be answered."""
    await caller.send(_good(world))
    assert (await caller.answer())[0] == 200


async def test_a_connection_serves_many_requests(world: World) -> None:
    async with _serving(world) as port, _calling(port) as caller:
        for _ in range(3):
            await _is_answered(caller, world)


async def test_who_hangs_up_does_not_wait_on(world: World) -> None:
    """Or a homeserver that restarts again and again would take all places."""
    question = f"GET {paths.CHANGES}?after=memory-1&wait=30 HTTP/1.1"
    head = f"{question}\r\nHost: x\r\nAuthorization: Bearer {world.feed_token}\r\n\r\n"
    async with _serving(world) as port:
        async with _calling(port) as caller:
            await caller.send(head.encode())
            await until(lambda: world.watch.waiting == 1)
        await until(lambda: world.watch.waiting == 0)


async def test_requests_may_follow_each_other_without_waiting(world: World) -> None:
    async with _serving(world) as port, _calling(port) as caller:
        await caller.send(_good(world) * 3)

        assert [(await caller.answer())[0] for _ in range(3)] == [200, 200, 200]


async def test_a_body_may_come_in_chunks_with_a_trailer(world: World) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in _BODY)
    async with _serving(world) as port, _calling(port) as caller:
        for _ in range(2):
            await caller.send(_head(world, "Transfer-Encoding: chunked"), chunks)
            await caller.send(b"0\r\nX-Trailer: ignored\r\n\r\n")
            assert (await caller.answer())[0] == 200


@pytest.mark.parametrize("length", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
async def test_a_body_without_end_is_answered_and_not_read(world: World, length: str) -> None:
    async with _serving(world) as port, _calling(port) as caller:
        await caller.send(_head(world, length), b"5000\r\n" + b" " * 0x5000)
        status, head = await caller.answer()

        assert status == 413
        assert b"connection: close" in head
        assert await caller.hung_up()


async def test_who_asks_first_whether_to_send_is_told_so_in_time(world: World) -> None:
    async with _serving(world) as port, _calling(port) as caller:
        await caller.send(_head(world, "Content-Length: 1000000", "Expect: 100-continue"))

        assert (await caller.answer())[0] == 413


async def test_a_body_that_drips_is_cut_off(world: World) -> None:
    async with _serving(world, request_timeout=0.3) as port, _calling(port) as caller:
        await caller.send(_head(world, f"Content-Length: {len(_BODY)}"), _BODY[:-1])
        status, head = await caller.answer()

        assert status == 408
        assert b"application/problem+json" in head
        assert await caller.hung_up()
    assert world.hasher.calls == 0


@pytest.mark.parametrize("start", [b"", b"POST /", b"POST / HTTP/1.1\r\nHost: l"])
async def test_a_head_that_never_ends_is_cut_off(world: World, start: bytes) -> None:
    async with _serving(world, protocol=_Impatient) as port, _calling(port) as caller:
        await caller.send(start)

        assert await caller.hung_up()


async def test_the_next_head_is_due_in_time_as_well(world: World) -> None:
    async with _serving(world, protocol=_Impatient) as port, _calling(port) as caller:
        await _is_answered(caller, world)
        await caller.send(b"POST /")

        assert await caller.hung_up()


async def test_the_rest_of_an_unwanted_body_is_due_in_time_as_well(world: World) -> None:
    async with _serving(world, protocol=_Impatient) as port, _calling(port) as caller:
        await caller.send(_head(world, "Content-Length: 100", token=False))
        assert (await caller.answer())[0] == 401
        await caller.send(b"x")

        assert await caller.hung_up()


async def test_a_head_without_end_is_refused(world: World) -> None:
    async with _serving(world) as port, _calling(port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nX-Long: ")
        with suppress(ConnectionError):
            for _ in range(MAX_HEAD_BYTES // 1024 + 1):
                await caller.send(b"a" * 1024)

        assert await caller.hung_up()


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"\0\0\0\0", b"BREW / HTTP/1.1\r\n\r\n"],
)
async def test_what_is_no_http_is_hung_up_on(world: World, garbage: bytes) -> None:
    async with _serving(world) as port, _calling(port) as caller:
        await caller.send(garbage)

        assert await caller.hung_up()


@pytest.mark.parametrize("wanted", ["websocket", "h2c"])
async def test_who_asks_for_another_protocol_is_answered_in_this_one(
    world: World, wanted: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"GET {paths.HEALTH_LIVE} HTTP/1.1\r\nHost: x\r\n"
    async with _serving(world) as port, _calling(port) as caller:
        await caller.send(f"{head}Connection: Upgrade\r\nUpgrade: {wanted}\r\n\r\n".encode())

        assert (await caller.answer())[0] == 200
    assert [line for line in caplog.records if line.name.startswith("uvicorn")] == []


async def test_one_caller_too_many_is_told_to_come_back(world: World) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(_serving(world, max_connections=8))
        others = [await stack.enter_async_context(_calling(port)) for _ in range(8)]
        for other in others:
            await _is_answered(other, world)
        caller = await stack.enter_async_context(_calling(port))
        await caller.send(_good(world))
        status, head = await caller.answer()

        assert status == 503
        assert b"application/problem+json" in head
        assert b"retry-after: 1" in head
        assert await caller.hung_up()
        # Who was there first does not pay for who came last.
        for other in others:
            await _is_answered(other, world)


async def test_who_says_nothing_makes_room_for_who_does(world: World) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(_serving(world, max_connections=8))
        kept = await stack.enter_async_context(_calling(port))
        await _is_answered(kept, world)
        silent = [await stack.enter_async_context(_calling(port)) for _ in range(20)]

        caller = await stack.enter_async_context(_calling(port))
        await _is_answered(caller, world)
        await _is_answered(kept, world)
        # The one that came first, which has been silent for longest.
        assert await silent[0].hung_up()


_STRANGERS = {
    "no token": [f"GET {paths.HEALTH_LIVE} HTTP/1.1\r\nHost: x\r\n\r\n".encode()],
    "a wrong token": [
        f"GET {paths.CALLER} HTTP/1.1\r\nAuthorization: Bearer lalepass_x\r\n\r\n".encode()
    ],
    "many questions": [f"GET {paths.HEALTH_READY} HTTP/1.1\r\nHost: x\r\n\r\n".encode()] * 3,
}


@pytest.mark.parametrize("asked", _STRANGERS.values(), ids=_STRANGERS)
async def test_who_has_no_token_makes_room_for_who_has(world: World, asked: list[bytes]) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(_serving(world, max_connections=8))
        kept = await stack.enter_async_context(_calling(port))
        await _is_answered(kept, world)
        strangers = [await stack.enter_async_context(_calling(port)) for _ in range(7)]
        for stranger in strangers:
            for each in asked:
                await stranger.send(each)
                assert (await stranger.answer())[0] in {200, 401}

        caller = await stack.enter_async_context(_calling(port))
        await _is_answered(caller, world)
        await _is_answered(kept, world)
        # The one that came first, whenever it asked last.
        assert await strangers[0].hung_up()
        await strangers[1].send(asked[0])
        assert (await strangers[1].answer())[0] in {200, 401}


async def test_who_waits_for_changes_is_one_of_ours(world: World) -> None:
    token = f"Host: x\r\nAuthorization: Bearer {world.feed_token}\r\n\r\n"
    question = f"GET {paths.CHANGES}?after=memory-1&wait=30 HTTP/1.1\r\n{token}"
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(_serving(world, max_connections=8))
        idle = await stack.enter_async_context(_calling(port))
        await idle.send(f"GET {paths.CALLER} HTTP/1.1\r\n{token}".encode())
        assert (await idle.answer())[0] == 200
        follower = await stack.enter_async_context(_calling(port))
        await follower.send(question.encode())
        await until(lambda: world.watch.waiting == 1)
        silent = [await stack.enter_async_context(_calling(port)) for _ in range(20)]
        assert await silent[0].hung_up()

        assert world.watch.waiting == 1
        world.watch.release()
        assert (await follower.answer())[0] == 200
        await idle.send(f"GET {paths.CALLER} HTTP/1.1\r\n{token}".encode())
        assert (await idle.answer())[0] == 200


async def test_who_is_known_does_not_wait_for_all_that_strangers_ask(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    run = RequestResponseCycle.run_asgi

    async def recorded(self: RequestResponseCycle, application: Any) -> None:
        begun.append(self.scope["path"])
        await run(self, application)

    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(_serving(world))
        kept = await stack.enter_async_context(_calling(port))
        await _is_answered(kept, world)
        strangers = [await stack.enter_async_context(_calling(port)) for _ in range(60)]
        monkeypatch.setattr(RequestResponseCycle, "run_asgi", recorded)
        for stranger in strangers:
            stranger.write(f"GET {paths.HEALTH_LIVE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        kept.write(_good(world))

        assert (await kept.answer())[0] == 200
        for stranger in strangers:
            assert (await stranger.answer())[0] == 200

    # It came last.
    assert len(begun) == 61
    assert begun.index(paths.CHECK_CREDENTIALS) < 30


async def test_what_a_stranger_asks_who_has_gone_is_not_begun(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(turnstile, "A_TURN", 1)

    async def run_asgi(self: RequestResponseCycle, _: Any) -> None:
        begun.append(self.scope["path"])

    monkeypatch.setattr(RequestResponseCycle, "run_asgi", run_asgi)
    state = ServerState()
    settings = app.uvicorn_settings(Server(), world.app())
    asked = []
    for number in range(3):
        protocol = BoundedProtocol(config=settings, server_state=state, app_state={})
        protocol.connection_made(MagicMock(spec_set=asyncio.Transport))
        protocol.data_received(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        asked.append(protocol)
    asked[1].connection_lost(None)
    await until(lambda: len(begun) == 2)

    assert begun == ["/0", "/2"]
    for protocol in asked:
        protocol.connection_lost(ConnectionResetError())


async def test_who_does_not_read_makes_room_as_well(world: World) -> None:
    """What is left to send would keep the connection for as long as nobody takes it."""
    there: list[set[Any]] = []

    class Watched(BoundedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as above
            there.append(self.connections)
            super().connection_made(transport)

    document = f"GET {paths.OPENAPI} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            _serving(world, max_connections=8, protocol=Watched, send_buffer=4096)
        )
        for _ in range(8):
            stranger = stack.enter_context(socket.socket())
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stranger.settimeout(0)
            await asyncio.get_running_loop().sock_connect(stranger, ("127.0.0.1", port))
            stranger.send(document)
            # Its first bytes are there, and the rest waits.
            await until(lambda: bool(select.select([stranger], [], [], 0)[0]))  # noqa: B023 - waits
        for _ in range(12):
            caller = await stack.enter_async_context(_calling(port))
            await caller.send(_good(world))
            assert (await caller.answer())[0] in {200, 503}

        await until(lambda: len(there[0]) <= 9)


async def test_a_token_that_is_good_no_longer_keeps_no_place(world: World) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(_serving(world, max_connections=8))
        others = [await stack.enter_async_context(_calling(port)) for _ in range(8)]
        for other in others:
            await _is_answered(other, world)
        await others[3].send(_head(world, "Content-Length: 0", token=False))
        assert (await others[3].answer())[0] == 401

        caller = await stack.enter_async_context(_calling(port))
        await _is_answered(caller, world)
        assert await others[3].hung_up()


@pytest.mark.parametrize(
    "one", [b"GET /x HTTP/1.1\r\n\r\n", b"POST /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n"]
)
async def test_more_requests_at_once_than_anybody_needs_are_not_taken_in(
    world: World, one: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One read of the socket holds thousands of them, all of which would be taken in at once."""
    begun = 0
    begin = BoundedProtocol.on_headers_complete

    def counted(self: BoundedProtocol) -> None:
        nonlocal begun
        begun += 1
        begin(self)

    monkeypatch.setattr(BoundedProtocol, "on_headers_complete", counted)
    async with _serving(world) as port, _calling(port) as caller:
        with suppress(ConnectionError):
            await caller.send(one * 10_000)
        assert await caller.hung_up()

    assert 0 < begun <= MOST_AHEAD + 1


async def test_nonsense_behind_a_request_does_not_pass_for_its_answer(world: World) -> None:
    async with _serving(world) as port, _calling(port) as caller:
        await caller.send(_good(world) + b"\0\0\0\0 HTTP/1.1\r\n\r\n")

        assert await caller.read_all() == b""


async def test_the_server_does_not_say_what_it_is(world: World) -> None:
    async with _serving(world) as port, _calling(port) as caller:
        await caller.send(_good(world))
        _, head = await caller.answer()

    assert b"server:" not in head
