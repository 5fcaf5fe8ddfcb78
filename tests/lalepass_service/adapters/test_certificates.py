"""The private authority: two sides that trust it meet by TLS, and nobody else does."""

import asyncio
import ssl
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lalepass_service.adapters.certificates import Authority, Signed, Use
from lalepass_service.adapters.clock import SystemClock

NOW = SystemClock().now()
DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return _authority(tmp_path / "authority")


def _authority(folder: Path) -> Authority:
    folder.mkdir()
    return Authority.open(folder, now=NOW)


def _files(folder: Path, name: str) -> Signed:
    return Signed(folder / f"{name}.crt", folder / f"{name}.key")


def _sign(
    authority: Authority,
    folder: Path,
    use: Use,
    *hosts: str,
    days: int = 90,
    now: datetime = NOW,
) -> Signed:
    files = _files(folder, hosts[0])
    authority.sign(files, use=use, hosts=hosts, now=now, days=days, mode=0o600)
    return files


async def _meet(
    *, server: Signed, client: Signed | None, trusted_by_server: Authority, trusted: Authority
) -> str:
    """Return what the client gets to read."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(server.certificate, server.key)
    serving.load_verify_locations(cadata=trusted_by_server.pem.decode())
    serving.verify_mode = ssl.CERT_REQUIRED
    asking = ssl.create_default_context(cadata=trusted.pem.decode())
    if client is not None:
        asking.load_cert_chain(client.certificate, client.key)

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=serving) as listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=asking)
        try:
            return (await asyncio.wait_for(reader.read(), 10)).decode()
        finally:
            writer.transport.abort()


def test_two_sides_of_one_authority_meet(authority: Authority, tmp_path: Path) -> None:
    server = _sign(authority, tmp_path, Use.SERVER, "127.0.0.1", "localhost")
    client = _sign(authority, tmp_path, Use.CLIENT, "homeserver")

    meeting = _meet(server=server, client=client, trusted_by_server=authority, trusted=authority)

    assert asyncio.run(meeting) == "hello"


@pytest.mark.parametrize(
    "wrong", ["other host", "client's", "expired", "not yet", "other authority", "no client"]
)
def test_what_does_not_fit_is_not_met(authority: Authority, tmp_path: Path, wrong: str) -> None:
    stranger = _authority(tmp_path / "stranger")
    good = _sign(authority, tmp_path, Use.SERVER, "127.0.0.1")
    client: Signed | None = _sign(authority, tmp_path, Use.CLIENT, "homeserver")
    match wrong:
        case "other host":
            good = _sign(authority, tmp_path, Use.SERVER, "127.0.0.2")
        case "client's":
            good = _sign(authority, tmp_path, Use.CLIENT, "127.0.0.1")
        case "expired":
            good = _sign(authority, tmp_path, Use.SERVER, "127.0.0.1", now=NOW - 9 * DAY, days=8)
        case "not yet":
            good = _sign(authority, tmp_path, Use.SERVER, "127.0.0.1", now=NOW + DAY)
        case "other authority":
            good = _sign(stranger, tmp_path, Use.SERVER, "127.0.0.1")
        case "no client":
            client = None

    meeting = _meet(server=good, client=client, trusted_by_server=authority, trusted=authority)

    # Who is refused by a server hears of it when it reads, or is only hung up on.
    heard = ""
    with suppress(ssl.SSLError, ConnectionError):
        heard = asyncio.run(meeting)
    assert heard == ""


def test_the_authority_stays_the_same_and_its_key_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    first = _authority(folder)

    assert Authority.open(folder, now=NOW + DAY).pem == first.pem
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert {file.name for file in folder.iterdir()} == {"ca.crt", "ca.key"}


def test_a_key_whose_certificate_was_never_written_gets_one(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    first = _authority(folder)
    signed = _sign(first, tmp_path, Use.SERVER, "lalepass")
    key = (folder / "ca.key").read_bytes()
    (folder / "ca.crt").unlink()

    again = Authority.open(folder, now=NOW)

    assert (folder / "ca.key").read_bytes() == key
    assert (folder / "ca.crt").read_bytes() == again.pem
    assert again.stands(signed, use=Use.SERVER, hosts=["lalepass"], until=NOW)


def test_a_certificate_without_its_key_is_made_anew_with_another(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    first = _authority(folder)
    (folder / "ca.key").unlink()

    again = Authority.open(folder, now=NOW)

    assert again.pem != first.pem
    server = _sign(again, tmp_path, Use.SERVER, "127.0.0.1")
    client = _sign(again, tmp_path, Use.CLIENT, "homeserver")
    meeting = _meet(server=server, client=client, trusted_by_server=again, trusted=again)
    assert asyncio.run(meeting) == "hello"


@pytest.mark.parametrize("broken", ["ca.crt", "ca.key"])
@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_a_broken_authority_is_never_replaced(tmp_path: Path, broken: str, content: bytes) -> None:
    folder = tmp_path / "authority"
    _authority(folder)
    (folder / broken).write_bytes(content)
    before = {file: file.read_bytes() for file in folder.iterdir()}

    with pytest.raises((ValueError, OSError)):
        Authority.open(folder, now=NOW)

    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_what_stands_need_not_be_made_anew(authority: Authority, tmp_path: Path) -> None:
    files = _sign(authority, tmp_path, Use.SERVER, "lalepass", "127.0.0.1", days=90)
    hosts = ["lalepass", "127.0.0.1"]

    def stands(*, use: Use = Use.SERVER, names: list[str] = hosts, days: int = 60) -> bool:
        return authority.stands(files, use=use, hosts=names, until=NOW + days * DAY)

    assert stands()
    assert not stands(days=91)
    assert not stands(use=Use.CLIENT)
    assert not stands(names=["lalepass"])
    stranger = _authority(tmp_path / "stranger")
    assert not stranger.stands(files, use=Use.SERVER, hosts=hosts, until=NOW)
    other = _sign(authority, tmp_path, Use.SERVER, "other")
    files.key.write_bytes(other.key.read_bytes())
    assert not stands()
    files.key.write_bytes(b"")
    assert not stands()
    files.key.unlink()
    assert not stands()


def test_no_certificate_outlives_its_authority(authority: Authority, tmp_path: Path) -> None:
    late = NOW + 3640 * DAY
    files = _sign(authority, tmp_path, Use.SERVER, "lalepass", now=late, days=90)

    assert not authority.stands(
        files, use=Use.SERVER, hosts=["lalepass"], until=NOW + timedelta(days=3651)
    )
