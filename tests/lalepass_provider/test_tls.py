"""Whom we trust, who we are, and what happens when that changes: TLS on loopback."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet import ssl as twisted_ssl
from twisted.internet import task

from lalepass_provider.errors import Lost, NotConnected
from lalepass_provider.files import FileFault
from lalepass_provider.tls import ClientTls, TlsFiles
from lalepass_provider.transport import Answer, Request, Transport
from tests.certificates import (
    Authority,
    Pair,
    encrypted,
    of_another_curve,
    of_another_version,
    short_pair,
)
from tests.lalepass_provider.on_reactor import on_reactor, reactor
from tests.lalepass_provider.servers import Connection, Server, serving

ASK = Request(method="GET", target="/", headers={}, max_answer_bytes=1000)


@dataclass
class Site:
    """A service's authority, that of its callers, and the files of one caller."""

    directory: Path
    services: Authority
    callers: Authority

    def files(self, *, client: str | None = None) -> TlsFiles:
        certificate, key = (
            self.callers.issue(client).write(self.directory, "client") if client else (None, None)
        )
        return TlsFiles(
            ca_path=self.services.write(self.directory), certificate_path=certificate, key_path=key
        )

    def context(self, pair: Pair, *, asks_for_certificate: bool) -> "ServerContext":
        paths = pair.write(self.directory, "server")
        trusted = self.callers.write(self.directory, "callers") if asks_for_certificate else None
        return ServerContext(*map(str, paths), callers=trusted)


class ServerContext(twisted_ssl.DefaultOpenSSLContextFactory):
    """The other side."""

    def __init__(self, certificate: str, key: str, *, callers: Path | None) -> None:
        super().__init__(key, certificate, sslmethod=SSL.TLS_METHOD)  # type: ignore[no-untyped-call]
        context: SSL.Context = self.getContext()  # type: ignore[no-untyped-call]
        if callers is not None:
            context.load_verify_locations(str(callers))
            must = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
            context.set_verify(must, lambda *result: bool(result[-1]))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, Authority("of services"), Authority("of callers"))


@asynccontextmanager
async def tls_serving(
    site: Site,
    *,
    names: tuple[str, ...] = ("localhost",),
    authority: Authority | None = None,
    asks_for_certificate: bool = False,
    configure: Callable[[SSL.Context], object] = lambda _: None,
) -> AsyncIterator[Server]:
    pair = (authority or site.services).issue(*names)
    context = site.context(pair, asks_for_certificate=asks_for_certificate)
    configure(context.getContext())  # type: ignore[no-untyped-call]
    async with serving(greet, tls=context) as server:
        yield server


def greet(connection: Connection, _: bytes) -> None:
    connection.answer(b"{}")


async def get(server: Server, files: TlsFiles, *, host: str = "localhost") -> Answer:
    transport = transport_to(server, ClientTls(files), host=host)
    try:
        return await transport.send(ASK, seconds=5)
    finally:
        await transport.drop_idle()


def transport_to(server: Server, tls: ClientTls, *, host: str = "localhost") -> Transport:
    return Transport(
        reactor=reactor,
        url=f"https://{host}:{server.port}",
        connect_timeout=2.0,
        max_idle_connections=4,
        tls=tls,
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@on_reactor
async def test_a_service_of_our_own_authority_is_trusted(site: Site, host: str) -> None:
    async with tls_serving(site, names=(host,)) as server:
        assert (await get(server, site.files(), host=host)).status == 200


@on_reactor
async def test_one_of_an_authority_among_several_is_trusted(site: Site) -> None:
    ca = site.directory / "ca.pem"
    ca.write_bytes(b"# ours\n" + Authority("another").certificate + site.services.certificate)
    async with tls_serving(site) as server:
        assert (await get(server, TlsFiles(ca_path=ca))).status == 200


@on_reactor
async def test_a_service_of_another_authority_gets_nothing(site: Site) -> None:
    async with tls_serving(site, authority=Authority("of services")) as server:
        with pytest.raises(NotConnected, match="certificate verify failed"):
            await get(server, site.files())
        with pytest.raises(NotConnected):
            await get(server, TlsFiles())  # nor is one that no platform knows

        assert server.requests == []


@on_reactor
async def test_a_certificate_of_somebody_is_no_authority(site: Site) -> None:
    """The doctor verifies in the same way, whatever its Python does by default."""
    async with tls_serving(site) as server:
        with pytest.raises(NotConnected):
            await get(server, TlsFiles(ca_path=site.directory / "server.pem"))


@on_reactor
async def test_a_service_with_another_name_gets_nothing(site: Site) -> None:
    async with tls_serving(site, names=("other.example", "127.0.0.2")) as server:
        for host in ("localhost", "127.0.0.1"):
            with pytest.raises(NotConnected):
                await get(server, site.files(), host=host)

        assert server.requests == []


@on_reactor
async def test_old_tls_is_not_spoken(site: Site) -> None:
    def old(context: SSL.Context) -> None:
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")

    async with tls_serving(site, configure=old) as server:
        with pytest.raises(NotConnected):
            await get(server, site.files())


@on_reactor
async def test_a_service_that_asks_who_we_are_is_told(site: Site) -> None:
    async with tls_serving(site, asks_for_certificate=True) as server:
        assert (await get(server, site.files(client="synapse"))).status == 200


@on_reactor
async def test_who_has_no_certificate_is_not_served(site: Site) -> None:
    async with tls_serving(site, asks_for_certificate=True) as server:
        # With TLS 1.3 the other side says so only after we are done.
        with pytest.raises((NotConnected, Lost)):
            await get(server, site.files())

        assert server.requests == []


@on_reactor
async def test_a_new_certificate_is_shown_without_a_restart(site: Site) -> None:
    files = site.files(client="old")
    tls = ClientTls(files)
    async with tls_serving(site, asks_for_certificate=True) as server:
        transport = transport_to(server, tls)
        await transport.send(ASK, seconds=5)
        first = server.connections[0]
        assert common_name(first) == "old"

        site.files(client="new")
        await until_seen(tls, 1)
        await transport.send(ASK, seconds=5)

        assert common_name(server.connections[-1]) == "new"
        await until(lambda: first not in server.connections)
        await transport.drop_idle()


@on_reactor
async def test_an_authority_that_is_taken_back_is_not_trusted_any_longer(site: Site) -> None:
    tls = ClientTls(site.files())
    async with tls_serving(site) as server:
        transport = transport_to(server, tls)
        await transport.send(ASK, seconds=5)

        Authority("another").write(site.directory)
        await until_seen(tls, 1)

        with pytest.raises(NotConnected, match="certificate verify failed"):
            await transport.send(ASK, seconds=5)
        assert len(server.requests) == 1
        await server.no_connections()


@on_reactor
async def test_a_connection_in_use_when_certificates_change_is_closed_afterwards(
    site: Site,
) -> None:
    tls = ClientTls(site.files(client="old"))
    held: list[Connection] = []
    pair = site.services.issue("localhost")
    context = site.context(pair, asks_for_certificate=True)
    async with serving(lambda connection, _: held.append(connection), tls=context) as server:
        transport = transport_to(server, tls)
        old = transport.send(ASK, seconds=10)
        await until(lambda: len(held) == 1)
        site.files(client="new")
        await until_seen(tls, 1)
        new = transport.send(ASK, seconds=10)
        await until(lambda: len(held) == 2)
        for connection in held:
            connection.answer(b"{}")

        assert [(await one).status for one in (old, new)] == [200, 200]
        await until(lambda: server.connections == [held[1]])
        await transport.drop_idle()


@on_reactor
async def test_a_key_that_is_not_supported_leaves_the_old_one_in_force(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    tls = ClientTls(site.files(client="old"))
    key = site.directory / "client.key"
    key.write_bytes(of_another_curve(key.read_bytes()))

    await until(lambda: tls.version > 0 or "Keeping" in caplog.text)

    assert tls.version == 0
    assert "client.key: a key of this kind is not supported" in caplog.text


@pytest.mark.parametrize("name", ["client.pem", "client.key", "ca.pem"])
@on_reactor
async def test_a_broken_file_leaves_the_old_ones_in_force(
    site: Site, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    tls = ClientTls(site.files(client="old"))
    pair = site.services.issue("localhost")
    context = site.context(pair, asks_for_certificate=True)
    (site.directory / name).write_bytes(b"-----BEGIN")
    async with serving(greet, tls=context) as server:
        await until(lambda: tls.version > 0 or "Keeping" in caplog.text)
        transport = transport_to(server, tls)
        await transport.send(ASK, seconds=5)

        assert common_name(server.connections[0]) == "old"
        assert f"{name}: there is no" in caplog.text
        await transport.drop_idle()


def files_of(site: Site, change: str) -> TlsFiles:
    """Return the files of a caller, one of them spoilt."""
    files = site.files(client="synapse")
    assert files.ca_path
    assert files.certificate_path
    assert files.key_path
    pair = Pair(files.certificate_path.read_bytes(), files.key_path.read_bytes())
    match change:
        case "no ca":
            files.ca_path.unlink()
        case "a ca that is a key":
            files.ca_path.write_bytes(pair.key)
        case "a damaged ca":
            files.ca_path.write_bytes(pair.certificate[:60] + b"AAAA\n" + pair.certificate[-30:])
        case "no certificate":
            files.certificate_path.write_bytes(b"")
        case "another key":
            files.key_path.write_bytes(site.callers.issue("synapse").key)
        case "a passphrase":
            files.key_path.write_bytes(encrypted(pair, b"passphrase-canary"))
        case "a short key":
            short = short_pair()
            files.certificate_path.write_bytes(short.certificate)
            files.key_path.write_bytes(short.key)
        case "no key":
            files.key_path.write_bytes(pair.certificate)
    return files


@pytest.mark.parametrize(
    ("change", "file", "why"),
    [
        ("no ca", "ca.pem", "No such file"),
        ("a ca that is a key", "ca.pem", "no certificate in it"),
        ("a damaged ca", "ca.pem", "damaged"),
        ("no certificate", "client.pem", "no certificate in it"),
        ("another key", "client.key", "not the one of the certificate"),
        ("a passphrase", "client.key", "has a passphrase"),
        ("a short key", "client.pem", "key too small"),
        ("no key", "client.key", "no private key in it"),
    ],
)
def test_what_can_not_be_used_is_refused(site: Site, change: str, file: str, why: str) -> None:
    with pytest.raises(FileFault, match=why) as refused:
        ClientTls(files_of(site, change))

    assert refused.value.path.name == file
    assert "BEGIN" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "spoil", "why"),
    [
        ("client.key", of_another_curve, "a key of this kind is not supported"),
        ("client.pem", of_another_curve, "a certificate for a key of this kind is not supported"),
        ("client.pem", of_another_version, "damaged"),
        ("ca.pem", of_another_version, "damaged"),
    ],
)
def test_what_no_library_knows_is_refused(
    site: Site, file: str, spoil: Callable[[bytes], bytes], why: str
) -> None:
    files = site.files(client="synapse")
    path = site.directory / file
    path.write_bytes(spoil(path.read_bytes()))

    with pytest.raises(FileFault, match=why) as refused:
        ClientTls(files)

    assert refused.value.path == path


def common_name(connection: Connection) -> str:
    """Return whom the caller's certificate names."""
    transport = connection.transport
    assert transport is not None
    certificate = transport.getPeerCertificate()  # type: ignore[attr-defined]  # of TLS only
    (name,) = certificate.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


async def until(fact: Callable[[], bool]) -> None:
    for _ in range(1000):
        if fact():
            return
        await task.deferLater(reactor, 0.01)
    raise AssertionError("it did not come to this within ten seconds")


async def until_seen(tls: ClientTls, version: int) -> None:
    """Wait until the change of a file has been seen: that takes a second."""
    await until(lambda: tls.version == version)
