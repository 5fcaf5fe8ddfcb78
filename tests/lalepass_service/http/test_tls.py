"""The server's certificates: new ones are taken, and broken ones change nothing."""

import asyncio
import ssl
from contextlib import suppress
from math import isnan
from pathlib import Path

import pytest
import structlog
from cryptography import x509

from lalepass_service.adapters.certificates import Authority, Signed, Use, end_of
from lalepass_service.adapters.clock import SystemClock
from lalepass_service.http.tls import CertificateFiles, CertificateUnusable, ServerTls

NOW = SystemClock().now()


class Site:
    """A server's files, and who may ask it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.open(folder, now=NOW)
        self.server = Signed(folder / "server.crt", folder / "server.key")
        self.client = Signed(folder / "client.crt", folder / "client.key")
        self.renew()
        self.sign(self.client, Use.CLIENT, "homeserver")

    @property
    def files(self) -> CertificateFiles:
        return CertificateFiles(
            self.server.certificate, self.server.key, client_authority=self.folder / "ca.crt"
        )

    def renew(self) -> None:
        self.sign(self.server, Use.SERVER, "127.0.0.1")

    def sign(self, files: Signed, use: Use, host: str) -> None:
        self.authority.sign(files, use=use, hosts=[host], now=NOW, days=1, mode=0o600)

    def new_authority(self) -> None:
        for name in ("ca.crt", "ca.key"):
            (self.folder / name).unlink()
        self.authority = Authority.open(self.folder, now=NOW)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def _shown(tls: ServerTls, site: Site, *, version: ssl.TLSVersion | None = None) -> bytes:
    """Return the certificate that a client with a certificate of its own is shown."""
    asking = ssl.create_default_context(cadata=site.authority.pem.decode())
    asking.load_cert_chain(site.client.certificate, site.client.key)
    if version is not None:
        asking.maximum_version = version

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=tls.context) as listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=asking)
        try:
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert await asyncio.wait_for(reader.read(), 10) == b"hello"
        finally:
            writer.transport.abort()
    return bytes(shown)


def _of(files: Signed) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.certificate.read_text())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_new_certificate_is_taken_without_a_restart(site: Site, version: ssl.TLSVersion) -> None:
    tls = ServerTls(site.files)
    assert asyncio.run(_shown(tls, site, version=version)) == _of(site.server)

    site.renew()
    tls.look()

    assert asyncio.run(_shown(tls, site, version=version)) == _of(site.server)


def test_it_is_known_when_the_certificate_ends(site: Site) -> None:
    ends = iter([7.0, 8.0])
    tls = ServerTls(site.files, end_of=lambda _: next(ends))
    assert tls.end == 7
    site.renew()
    tls.look()
    assert tls.end == 8

    certificate = x509.load_pem_x509_certificate(site.server.certificate.read_bytes())
    assert end_of(site.server.certificate) == certificate.not_valid_after_utc.timestamp()
    site.server.certificate.write_text("no certificate")
    tls.look()
    assert tls.end == 8
    assert isnan(end_of(site.server.certificate))
    assert isnan(end_of(site.folder / "none"))


def test_who_is_trusted_no_longer_is_not_listened_to(site: Site) -> None:
    tls = ServerTls(site.files)
    asyncio.run(_shown(tls, site))

    site.new_authority()
    site.renew()
    tls.look()

    # Still with the certificate that the old authority has signed.
    heard = b""
    with suppress(ssl.SSLError, ConnectionError, AssertionError):
        heard = asyncio.run(_shown(tls, site))
    assert heard == b""
    site.sign(site.client, Use.CLIENT, "homeserver")
    assert asyncio.run(_shown(tls, site)) == _of(site.server)


@pytest.mark.parametrize("broken", ["certificate", "key", "authority", "gone", "half"])
def test_what_can_not_be_used_changes_nothing_and_is_said_once(site: Site, broken: str) -> None:
    tls = ServerTls(site.files)
    good = _of(site.server)
    # What a client trusts stays the same in this test.
    match broken:
        case "certificate":
            site.server.certificate.write_text("no certificate")
        case "key":
            site.server.key.write_text("no key")
        case "authority":
            (site.folder / "ca.crt").write_text("no certificate")
        case "gone":
            site.server.key.unlink()
        case "half":
            content = site.server.certificate.read_text()
            site.server.certificate.write_text(content[: len(content) // 2])

    with structlog.testing.capture_logs() as logged:
        tls.look()
        tls.look()

    assert asyncio.run(_shown(tls, site)) == good
    assert [line["log_level"] for line in logged] == ["error"]

    (site.folder / "ca.crt").write_bytes(site.authority.pem)
    site.renew()
    tls.look()
    assert asyncio.run(_shown(tls, site)) == _of(site.server)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("server.crt", "tls_certificate"),
        ("server.key", "tls_certificate"),
        ("ca.crt", "tls_client_ca"),
    ],
)
def test_a_file_that_vanishes_between_two_looks_is_said(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str, option: str
) -> None:
    monkeypatch.setattr("lalepass_service.http.tls._require_readable", lambda _: None)
    (site.folder / name).unlink()

    with pytest.raises(CertificateUnusable, match="can't be read: No such file") as refused:
        ServerTls(site.files)

    assert refused.value.option == option


def test_a_look_that_fails_is_not_the_last_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalepass_service.http.tls._LOOK_SECONDS", 0.001)
    tls = ServerTls(site.files)
    looks = 0

    async def follow() -> None:
        enough = asyncio.Event()
        loop = asyncio.get_running_loop()

        def look() -> None:
            nonlocal looks
            looks += 1
            if looks >= 5:
                loop.call_soon_threadsafe(enough.set)
            if looks != 3:
                raise RuntimeError("nobody has thought of this")

        monkeypatch.setattr(tls, "look", look)
        following = asyncio.create_task(tls.follow())
        await asyncio.wait_for(enough.wait(), 30)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following

    with structlog.testing.capture_logs() as logged:
        asyncio.run(follow())

    # Once before the look that went well, and once after it.
    said = "certificates can't be looked at; the old ones stay"
    assert [line["event"] for line in logged] == [said, said]


@pytest.mark.parametrize(
    ("name", "content", "option", "why"),
    [
        ("server.crt", None, "tls_certificate", "can't be read: No such file or directory"),
        ("server.key", None, "tls_key", "can't be read: No such file or directory"),
        ("ca.crt", None, "tls_client_ca", "can't be read: No such file or directory"),
        ("server.crt", "", "tls_certificate", "or its key is not PEM"),
        ("server.key", "", "tls_certificate", "or its key is not PEM"),
        ("ca.crt", "", "tls_client_ca", "holds no certificate in PEM"),
        ("ca.crt", "nothing", "tls_client_ca", "holds no certificate in PEM"),
        ("server.key", "client.key", "tls_key", "does not belong to"),
    ],
)
def test_bad_files_are_refused_at_the_start(
    site: Site, name: str, content: str | None, option: str, why: str
) -> None:
    if content is None:
        (site.folder / name).unlink()
    elif content.endswith(".key"):
        (site.folder / name).write_bytes((site.folder / content).read_bytes())
    else:
        (site.folder / name).write_text(content)

    with pytest.raises(CertificateUnusable, match=why) as refused:
        ServerTls(site.files)

    assert refused.value.option == option
    assert "PRIVATE" not in str(refused.value)
