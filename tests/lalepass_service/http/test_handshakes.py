"""TLS over real sockets: those who never end their handshake, and those who do."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from lalepass_service import app
from lalepass_service.config import Server
from lalepass_service.http import handshakes
from lalepass_service.http.handshakes import CLOSE_SECONDS, HANDSHAKE_SECONDS
from lalepass_service.http.protocol import BoundedProtocol
from lalepass_service.http.server import Ending
from lalepass_service.http.server import Server as HttpServer
from lalepass_service.http.signals import Signals
from lalepass_service.http.tls import CertificateFiles, ServerTls
from tests.certificates import Authority
from tests.lalepass_service.http.world import World, check
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio

_PATIENCE = 20


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The loop that serves, and the one whose documentation we go by."""
    return "asyncio", {"use_uvloop": request.param}


class _Site:
    """A server, and what its callers trust."""

    def __init__(self, world: World, folder: Path, *, mutual: bool = False) -> None:
        self._authority = Authority()
        certificate, key = self._authority.issue("127.0.0.1").write(folder, "server")
        authority = self._authority.write(folder)
        self._client = self._authority.issue("homeserver").write(folder, "client")
        self._world = world
        self.files = CertificateFiles(certificate, key, authority if mutual else None)
        self.port = 0
        self.there: set[Any] = set()

    @property
    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._authority.certificate.decode())
        context.load_cert_chain(*self._client)
        return context

    @asynccontextmanager
    async def serving(self, *, max_connections: int = 64) -> AsyncIterator[None]:
        # The end of the server waits a little longer than a request may take.
        section = Server(max_connections=max_connections, request_timeout=10 * _PATIENCE)
        settings = app.uvicorn_settings(section, self._world.app())
        server = HttpServer(
            settings,
            ending=Ending(),
            signals=Signals(),
            drain_seconds=0,
            tls=ServerTls(self.files).context,
        )
        self.there = server.server_state.connections
        with app.listen(Server.model_construct(host="127.0.0.1", port=0, backlog=64)) as listener:
            self.port = listener.getsockname()[1]
            serving = asyncio.create_task(server.serve([listener]))
            try:
                yield
            finally:
                server.should_exit = True
                async with asyncio.timeout(_PATIENCE):
                    await serving

    @asynccontextmanager
    async def homeserver(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self.port}",
            verify=self.trusting,
            headers=self._world.authorization,
            timeout=_PATIENCE,
        ) as client:
            yield client

    async def half_open(self, stack: AsyncExitStack, said: bytes = b"") -> asyncio.StreamReader:
        """Begin a handshake, and say no more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        stack.callback(writer.close)
        writer.write(said)
        return reader


async def _ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(_PATIENCE):
        with suppress(ConnectionError):
            await reader.read()
    return True


def _hello() -> bytes:
    """Return how a client begins, which the server answers."""
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(
            ssl.MemoryBIO(), out, server_hostname="x"
        ).do_handshake()
    return out.read()


_BEGINNINGS = {"nothing": b"", "a part": _hello()[:50], "a hello": _hello()}


@pytest.fixture
def site(world: World, tmp_path: Path) -> _Site:
    return _Site(world, tmp_path)


async def test_a_connection_serves_many_requests(site: _Site) -> None:
    async with site.serving(), site.homeserver() as homeserver:
        for _ in range(3):
            assert (await check(homeserver)).json()["result"] == "accepted"
        assert len(site.there) == 1


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
async def test_answers_are_not_held_back(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `loop.create_server` sees to: an answer in two pieces would wait for a packet."""
    told: list[int] = []
    made = BoundedProtocol.connection_made

    def connection_made(self: BoundedProtocol, transport: asyncio.Transport) -> None:
        made(self, transport)
        taken = transport.get_extra_info("socket")
        told.append(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(BoundedProtocol, "connection_made", connection_made)
    async with site.serving(), site.homeserver() as homeserver:
        await check(homeserver)

    assert [bool(each) for each in told] == [True]


@pytest.mark.parametrize("said", _BEGINNINGS.values(), ids=_BEGINNINGS)
async def test_hundreds_who_never_end_their_handshake_keep_nobody_out(
    site: _Site, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is, they are all there until they are sent away.
    monkeypatch.setattr(handshakes, "HANDSHAKE_SECONDS", 300)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(site.serving())
        kept = await stack.enter_async_context(site.homeserver())
        assert (await check(kept)).status_code == 200
        for _ in range(300):
            await site.half_open(stack, said)

        homeserver = await stack.enter_async_context(site.homeserver())
        assert (await check(homeserver)).json()["result"] == "accepted"
        assert (await check(kept)).json()["result"] == "accepted"
        # They take places, and no more than there are.
        await until(lambda: len(site.there) == 64)


@pytest.mark.parametrize("said", _BEGINNINGS.values(), ids=_BEGINNINGS)
async def test_a_handshake_has_an_end(
    site: _Site, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max(HANDSHAKE_SECONDS, CLOSE_SECONDS) <= 10
    monkeypatch.setattr(handshakes, "HANDSHAKE_SECONDS", 0.2)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(site.serving())
        reader = await site.half_open(stack, said)

        assert await _ended(reader)
        await until(lambda: not site.there)


_NO_TLS = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": b"\0" * 100,
    "a broken record": b"\x16\x03\x01\x02\x00" + b"\xff" * 0x200,
}


@pytest.mark.parametrize("said", _NO_TLS.values(), ids=_NO_TLS)
async def test_what_is_no_tls_is_hung_up_on_and_takes_no_place(site: _Site, said: bytes) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(site.serving())
        reader = await site.half_open(stack, said)

        assert await _ended(reader)
        await until(lambda: not site.there)


@pytest.mark.parametrize("said", _BEGINNINGS.values(), ids=_BEGINNINGS)
async def test_who_leaves_during_the_handshake_gives_back_the_place(
    site: _Site, said: bytes
) -> None:
    async with site.serving():
        async with AsyncExitStack() as stack:
            for _ in range(5):
                await site.half_open(stack, said)
            await until(lambda: len(site.there) == 5)
        await until(lambda: not site.there)


async def test_who_is_not_trusted_takes_no_place(world: World, tmp_path: Path) -> None:
    site = _Site(world, tmp_path, mutual=True)
    async with site.serving():
        untrusted = ssl.create_default_context()
        untrusted.check_hostname, untrusted.verify_mode = False, ssl.CERT_NONE
        with suppress(ssl.SSLError, ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=untrusted)
            try:
                await reader.read()
            finally:
                writer.transport.abort()
        await until(lambda: not site.there)

        async with site.homeserver() as homeserver:
            assert (await check(homeserver)).status_code == 200


async def test_the_end_does_not_wait_for_those_who_never_end_their_handshake(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "HANDSHAKE_SECONDS", 300)
    async with AsyncExitStack() as stack:
        async with site.serving():
            half = [await site.half_open(stack, said) for said in _BEGINNINGS.values()]
            await until(lambda: len(site.there) == 3)
        # That it came to its end at all, which it does not before all places are given back.
        for reader in half:
            assert await _ended(reader)


async def test_when_no_file_is_left_it_is_said_and_tried_again(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_PAUSE_SECONDS", 0.05)
    accept, failures = socket.socket.accept, iter([OSError(24, "Too many open files")] * 2)

    def failing(self: socket.socket) -> tuple[socket.socket, Any]:
        for failure in failures:
            raise failure
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    with structlog.testing.capture_logs() as logged:
        async with site.serving(), site.homeserver() as homeserver:
            assert (await check(homeserver)).status_code == 200

    assert [line["why"] for line in logged if "why" in line] == ["Too many open files"] * 2
