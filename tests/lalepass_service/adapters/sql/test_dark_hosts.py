"""Several hosts, some of which are silent to who wants to connect: only the first one waits."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.primaries import Primaries
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.watching import Watch
from lalepass_service.core.errors import StoreUnavailable
from tests.lalepass_service.adapters.databases import server_of
from tests.lalepass_service.waiting import until
from tests.servers.faults import Link
from tests.servers.postgres import Database, Postgres
from tests.servers.psql import url_of

pytestmark = pytest.mark.anyio

_SHORTEST = 2
"""Seconds that psycopg tries a host for, at least."""


@pytest.fixture
def dark(postgres_server: Postgres, postgres_database: Database) -> Iterator[PostgresServer]:
    """Two hosts that are dark, and then a good one."""
    with ExitStack() as stack:
        links = [stack.enter_context(Link(postgres_server.port)) for _ in range(2)]
        for link in links:
            link.lose()
        ports = (*(link.port for link in links), postgres_server.port)
        url = url_of(*ports, database=postgres_database.name)
        yield replace(server_of(postgres_database), url=url, primaries=Primaries())


def one(session: Session) -> object:
    return session.run("SELECT 1").fetchone()


async def seconds(hot: PostgresPaths) -> float:
    began = time.monotonic()
    await hot.read(one)
    return time.monotonic() - began


async def test_only_the_first_who_comes_waits_for_dark_hosts(dark: PostgresServer) -> None:
    """As in a check, which asks for its token and then for its account, on another thread."""
    hot = PostgresPaths.open(dark, threads=3)
    assert await seconds(hot) > _SHORTEST
    assert dark.primaries.good == 2

    assert await seconds(hot) < _SHORTEST
    assert await seconds(hot) < _SHORTEST
    # Those who connect anew begin there, too; the others come behind it.
    ports = str(dark.parameters()["port"]).split(",")
    assert sorted(ports) == sorted(str(each) for each in url_ports(dark))
    assert ports[0] == str(url_ports(dark)[2])
    await hot.close()


async def test_with_a_watch_nobody_waits(dark: PostgresServer) -> None:
    watch = Watch(dark)
    await watch.look()
    assert dark.primaries.first == 2
    hot = PostgresPaths.open(dark, threads=2)
    assert await seconds(hot) < _SHORTEST
    await hot.close()
    await watch.close()


async def test_each_host_gets_its_share_of_the_time(dark: PostgresServer) -> None:
    assert replace(dark, timeout=9.0).parameters()["connect_timeout"] == 3
    assert dark.parameters()["connect_timeout"] == _SHORTEST
    given = replace(dark, url=f"{dark.url}?connect_timeout=7")
    assert given.parameters()["connect_timeout"] == "7"


async def test_what_nobody_waits_for_any_more_is_not_done_after_connecting(
    dark: PostgresServer,
) -> None:
    ran: list[str] = []

    def work(_: Session) -> None:
        ran.append("it")

    hot = PostgresPaths.open(replace(dark, timeout=0.5), threads=1)
    with pytest.raises(StoreUnavailable):
        await hot.step(work, key="")
    await until(lambda: dark.primaries.good == 2 and not hot.busy)
    assert ran == []
    # The next one has what it has taken so long to get.
    assert await seconds(hot) < _SHORTEST
    await hot.close()


def url_ports(server: PostgresServer) -> list[int]:
    places = server.url.partition("@")[2].partition("/")[0]
    return [int(place.rpartition(":")[2]) for place in places.split(",")]


@pytest.mark.parametrize(
    ("url", "first", "hosts", "ports"),
    [
        ("postgresql://a,b,c/x", 1, "b,a,c", ",,"),
        ("postgresql://a:1,b:2/x", 1, "b,a", "2,1"),
        ("postgresql://a:1,b:2/x", 0, "a,b", "1,2"),
        ("postgresql://a,b/x?port=7", 1, "b,a", "7,7"),
        # known of another address
        ("postgresql://a,b/x", 5, "a,b", ","),
        # libpq says what is wrong with it
        ("postgresql:///x?host=a,b,c&port=1,2", 1, "a,b,c", "1,2"),
        ("postgresql://a/x", 0, "a", None),
    ],
)
def test_the_order_of_hosts(url: str, first: int, hosts: str, ports: str | None) -> None:
    server = PostgresServer(url=url)
    server.primaries.good = first
    known = server.parameters()
    assert known["host"] == hosts
    assert known.get("port") == ports


def test_an_address_without_hosts_has_no_order() -> None:
    server = PostgresServer(url="postgresql:///x")
    server.primaries.good = 0
    assert "host" not in server.parameters()
