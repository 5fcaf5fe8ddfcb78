"""Connections to Valkey: who is let in, what is said when it fails, what no server can do to us."""

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lalepass_service.adapters.valkey.client import Client, Lost, Script
from lalepass_service.adapters.valkey.connections import Target
from lalepass_service.adapters.valkey.softlocks import ValkeySoftLocks
from lalepass_service.adapters.valkey.throttle import SharedThrottle
from lalepass_service.core.softlock import Bid, Ticket
from lalepass_service.core.throttle import LocalThrottle, Rate
from tests.certificates import Authority
from tests.lalepass_service.accounts import ACT, NOW
from tests.lalepass_service.adapters.valkey.house import DIGESTS, PATIENT, NotedUnlocks
from tests.servers.faults import Link
from tests.servers.fixtures import left_out_if_missing
from tests.servers.valkey import Valkey, valkey
from tools.processes import LOOPBACK, free_port

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[4]
SECRET = "correct-horse"
COUNT = Script("return redis.call('INCR', KEYS[1])")
EPOCH = b"e" * 16


class Encrypting(Valkey):
    """One that has a second port, with TLS."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        super().__init__(directory=directory)
        self.tls_port = free_port()
        pair = authority.issue("localhost").write(directory, "valkey")
        self._files = [str(path) for path in pair]

    def command(self) -> list[str]:
        certificate, key = self._files
        return [
            *(*super().command(), "--tls-port", str(self.tls_port)),
            *("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"),
        ]


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """One whose settings these tests change."""
    with left_out_if_missing(), valkey() as server:
        yield server


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    return file


def rotate(file: Path, password: str) -> None:
    file.write_text(password)


def a_target(server: Valkey, *, user: str = "", password: Path | None = None) -> Target:
    return Target(host=LOOPBACK, port=server.port, user=user, password_path=password)


@asynccontextmanager
async def a_client(
    target: Target, *, patience: float = PATIENT, prefix: str = "lalepass"
) -> AsyncIterator[Client]:
    client = Client(target, prefix=prefix, timeout=patience)
    try:
        yield client
    finally:
        await client.close()


async def reason(target: Target, *, patience: float = PATIENT) -> str:
    """Return why it is not to be used."""
    async with a_client(target, patience=patience) as client:
        with pytest.raises(Lost) as lost:
            await client.ask(("SET", "key", "value"))
        assert not client.up
        assert lost.value.__cause__ is None
        return lost.value.why


async def test_the_password_is_read_from_its_file_for_each_connection(
    server: Valkey, password: Path
) -> None:
    server.ask("ACL", "SETUSER", "reader", "on", f">{SECRET}", "~*", "+@all")
    async with a_client(a_target(server, user="reader", password=password)) as client:
        await client.ask(("PING",))
        server.ask("ACL", "SETUSER", "reader", "resetpass", ">another")
        rotate(password, "another")
        server.ask("CLIENT", "KILL", "USER", "reader")

        assert await client.ask(("PING",)) == [b"PONG"]


@pytest.mark.parametrize("user", ["", "reader2"])
async def test_a_wrong_password_is_said_and_shown_nowhere(
    server: Valkey, password: Path, caplog: pytest.LogCaptureFixture, user: str
) -> None:
    server.ask("ACL", "SETUSER", "reader2", "on", ">different", "~*", "+@all")
    target = a_target(server, user=user, password=password)

    with caplog.at_level(logging.DEBUG):
        why = await reason(target)

    # Without a user, this one takes no password at all.
    assert why in {"it does not accept the password", "it can't be reached"}
    assert SECRET not in caplog.text
    assert SECRET not in repr(target)


async def test_a_password_file_that_is_gone_is_no_answer(server: Valkey, tmp_path: Path) -> None:
    why = await reason(a_target(server, user="reader", password=tmp_path / "gone"))

    assert why == "it can't be understood (FileNotFoundError)"


async def test_the_rights_in_the_document_are_enough_and_not_too_many(
    server: Valkey, password: Path
) -> None:
    """docs/valkey.md, the line for operators."""
    text = (ROOT / "docs" / "valkey.md").read_text()
    (line,) = re.findall(r"^ACL SETUSER .*$", text, re.MULTILINE)
    server.ask(*line.replace("PASSWORD", SECRET).split())
    target = a_target(server, user="lalepass", password=password)
    async with a_client(target) as client:
        locks = ValkeySoftLocks(client, DIGESTS, unlocks=NotedUnlocks())
        bid = Bid(account="a", guess=b"g" * 16, source=b"s" * 16, since=NOW)
        ticket = await locks.pay(bid, now=NOW)
        assert isinstance(ticket, Ticket)
        locks.settle(ticket, user_id=ticket.account, now=NOW)  # type: ignore[arg-type]
        ticket = await locks.pay(bid, now=NOW)
        assert isinstance(ticket, Ticket)
        await locks.give_back(ticket, now=NOW)
        await locks.charge(ticket, now=NOW)
        assert await locks.sweep(before=NOW) == 0
        assert await locks.sweep(before=NOW.replace(year=2027)) == 2
        await locks.pay(bid, now=NOW)
        assert await locks.unlock("a", act=ACT, now=NOW)
        await locks.forget("a")
        rate = Rate(burst=1, per_second=1)
        local = LocalThrottle(source=rate, caller=rate)
        throttle = SharedThrottle(local, client=client, digests=DIGESTS)
        throttle.hit(source="192.0.2.1", caller="synapse")
        await throttle.tell()
        await client.look()
        assert "forgets counters" in "".join(await client.warnings())
        assert client.up
    for command in (("KEYS", "*"), ("FLUSHDB",), ("GET", "another"), ("CONFIG", "GET", "*")):
        async with a_client(target) as client:
            with pytest.raises(Lost, match="does not allow this user a command"):
                await client.ask(command)


async def test_tls_trusts_the_authority_that_was_named_and_no_other(tmp_path: Path) -> None:
    authority = Authority()
    server = Encrypting(tmp_path, authority)

    def target(trusted: Authority, host: str = "localhost") -> Target:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=trusted.certificate.decode())
        return Target(host=host, port=server.tls_port, tls=context)

    with left_out_if_missing(), server:
        async with a_client(target(authority)) as client:
            assert await client.ask(("PING",)) == [b"PONG"]
        assert await reason(target(Authority())) == "its certificate is not trusted"
        assert await reason(target(authority, LOOPBACK)) == "its certificate is not trusted"
        # A port that knows no TLS.
        plain = Target(host="localhost", port=server.port, tls=target(authority).tls)
        assert await reason(plain, patience=2)


async def test_one_that_is_full_is_away(server: Valkey) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        assert await reason(a_target(server)) == "it is full"
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")


async def test_one_that_becomes_full_is_not_well_before_it_can_be_written_to(
    server: Valkey,
) -> None:
    async with a_client(a_target(server)) as client:
        await client.look()
        server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(Lost, match="it is full"):
                await client.ask(("SET", "key", "value"))
            await client.look()
            assert not client.up
        finally:
            server.ask("CONFIG", "SET", "maxmemory", "0")
        await client.look()
        assert client.up


async def test_a_replica_is_away(server: Valkey) -> None:
    server.ask("REPLICAOF", LOOPBACK, str(free_port()))
    try:
        assert await reason(a_target(server)) == "it is a read-only replica"
    finally:
        server.ask("REPLICAOF", "NO", "ONE")


async def test_one_that_becomes_a_replica_is_left_for_the_one_that_its_name_leads_to(
    server: Valkey,
) -> None:
    """A failover that ends no connection, as behind a name that moves."""
    with valkey() as promoted, Link(server.port) as name:
        async with a_client(Target(host=LOOPBACK, port=name.port)) as client:
            # Several connections, each of which would go on leading there.
            await asyncio.gather(*(client.ask(("SET", "key", "before")) for _ in range(5)))
            server.ask("REPLICAOF", LOOPBACK, str(promoted.port))
            try:
                name.lead_to(promoted.port)
                with pytest.raises(Lost, match="read-only replica"):
                    await client.ask(("SET", "key", "after"))

                await client.look()

                await asyncio.gather(*(client.ask(("SET", "key", "after")) for _ in range(5)))
                assert promoted.ask("GET", "key") == "after"
                assert client.losses == 1
            finally:
                server.ask("REPLICAOF", "NO", "ONE")


async def test_of_two_under_one_name_the_one_that_it_leads_to_is_asked(server: Valkey) -> None:
    """An old one that goes on as if nothing had happened."""
    with valkey() as moved_to, Link(server.port) as name:
        async with a_client(Target(host=LOOPBACK, port=name.port)) as client:

            async def burst(value: str, size: int) -> int:
                """Use so many connections at once, and return how often other data were met."""
                met = client.emptied
                await asyncio.gather(*(client.read(("SET", "key", value)) for _ in range(size)))
                return client.emptied - met

            await burst("before", 5)
            name.lead_to(moved_to.port)
            # Five more connections are made, and lead to the other one.
            for _ in range(20):
                if await burst("meanwhile", 10) == 0:
                    break

            assert await burst("after", 10) == 0
            assert server.ask("GET", "key") != "after"
            assert moved_to.ask("GET", "key") == "after"


async def test_one_that_drops_counters_is_warned_of(server: Valkey) -> None:
    async with a_client(a_target(server)) as client:
        server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            assert any("maxmemory-policy" in each for each in await client.warnings())
        finally:
            server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert not any("maxmemory-policy" in each for each in await client.warnings())


async def test_one_that_does_not_tell_its_settings_is_used_all_the_same(
    server: Valkey, password: Path
) -> None:
    server.ask("ACL", "SETUSER", "mute", "on", f">{SECRET}", "~*", "+@all", "-info")
    async with a_client(a_target(server, user="mute", password=password)) as client:
        (warning,) = await client.warnings()
        assert warning.startswith("does not tell how it is set")
        assert client.up


async def test_a_script_is_told_to_a_server_that_does_not_know_it(server: Valkey) -> None:
    async with a_client(a_target(server)) as client:
        assert await client.run(COUNT, "count") == 1
        server.ask("SCRIPT", "FLUSH")

        assert await client.run_all(COUNT, [("count",), ("count",)]) == [2, 3]


async def test_an_error_among_answers_is_none_and_harms_nobody_after_it(server: Valkey) -> None:
    async with a_client(a_target(server)) as client:
        with pytest.raises(Lost, match="it answered with an error"):
            await client.ask(("SET", "a", "1"), ("HGET", "a", "x"), ("GET", "a"))
        await client.look()

        assert await client.ask(("GET", "a")) == [b"1"]


async def test_trips_are_bounded_in_number(server: Valkey) -> None:
    """More than there are connections wait for one."""
    async with a_client(a_target(server)) as client:
        replies = await asyncio.gather(*(client.ask(("PING",)) for _ in range(500)))

        assert replies == [[b"PONG"]] * 500
        clients = server.ask("CLIENT", "LIST")
        assert isinstance(clients, str)
        assert len(clients.splitlines()) <= 32 + 1
        assert sum(client.latency.counts) == 500
        assert client.latency.total > 0


@asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
) -> AsyncIterator[Target]:
    """A server of our own, all of whose connections are closed in the end."""
    at_work: set[asyncio.Future[None]] = set()
    ending: set[asyncio.Task[None]] = set()

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        ending.add(task)
        work = asyncio.ensure_future(serve(reader, writer))
        at_work.add(work)
        await asyncio.wait([work])
        if not work.cancelled():
            assert isinstance(work.exception(), OSError | asyncio.IncompleteReadError | None)
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

    listener = await asyncio.start_server(begin, LOOPBACK, 0)
    async with listener:
        yield Target(host=LOOPBACK, port=listener.sockets[0].getsockname()[1])
        for work in at_work:
            work.cancel()
        await asyncio.gather(*ending)


@asynccontextmanager
async def hostile(answer: bytes, *, again: bool = False) -> AsyncIterator[Target]:
    """A server that greets like ours and then answers with this, once or for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"GET\r\n")
        await reader.readuntil(b"epoch\r\n")
        writer.write(b"+OK\r\n$16\r\n" + EPOCH + b"\r\n")
        await reader.read(65536)
        writer.write(answer)
        while again:
            writer.write(answer)
            await writer.drain()
            # Or nobody else gets a turn while there is room.
            await asyncio.sleep(0)
        await reader.read()

    async with serving(serve) as target:
        yield target


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (b"$1000000000\r\n", False),
        (b"$-5\r\n", False),
        (b"$\r\n", False),
        (b"$x\r\n", False),
        (b"*1000000000\r\n:1\r\n", False),
        (b"*1000000000\r\n" + b":1\r\n" * 10_000, True),
        (b"*1\r\n" * 10_000, False),
        (b"*1\r\n", True),
        (b"+" + b"a" * 200_000, False),
        (b"+a", True),
        (b"garbage\r\n", False),
        (b"\r\n", False),
        (b"\xff\xfe\r\n", False),
        (b":1.5\r\n", False),
        (b"-ERR " + b"x" * 10_000 + b"\r\n", False),
        (b"-MOVED 1 192.0.2.1:6379\r\n", False),
        (b"-\r\n", False),
        (b"", False),
    ],
)
async def test_whatever_a_server_answers_it_is_lost_and_that_is_all(
    answer: bytes,
    again: bool,  # noqa: FBT001 - a table
) -> None:
    async with hostile(answer, again=again) as target, a_client(target, patience=0.5) as client:
        async with asyncio.timeout(60):
            with pytest.raises(Lost) as lost:
                await client.ask(("GET", "key"))

        assert len(str(lost.value)) < 200
        assert not client.up


async def test_a_server_that_sends_drop_by_drop_is_not_waited_for() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"+")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(serve) as target, asyncio.timeout(60):
        assert await reason(target, patience=0.2) == "it did not answer in time"


async def test_one_that_takes_no_connection_is_not_waited_for() -> None:
    with socket.create_server((LOOPBACK, 0), backlog=0) as full:
        address = full.getsockname()
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.settimeout(0)
            other.connect_ex(address)
        async with asyncio.timeout(60):
            target = Target(host=LOOPBACK, port=address[1])
            assert await reason(target, patience=0.2) == "it did not answer in time"
        for other in others:
            other.close()


async def test_a_name_that_nobody_has_is_not_to_be_reached() -> None:
    target = Target(host="valkey.invalid", port=6379)

    assert await reason(target, patience=5) in {"it can't be reached", "it did not answer in time"}


async def test_one_that_keeps_nothing_is_of_no_use() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"GET\r\n")
        await reader.readuntil(b"epoch\r\n")
        writer.write(b"+OK\r\n$-1\r\n")
        await reader.read()

    async with serving(serve) as target:
        assert await reason(target) == "it has not kept what was written"
