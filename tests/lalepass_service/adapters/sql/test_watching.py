"""An old primary that goes on beside a newer one is left, by every way to the database."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, insert, select

from lalepass_service.adapters.sql import asking
from lalepass_service.adapters.sql.asking import Host
from lalepass_service.adapters.sql.connecting import OpenSession, connect_async, connect_to_host
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.fence import Fences
from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.postgres import Learned, PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.adapters.sql.primaries import Primaries, WrongPrimary
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.standing import CLOSED, NOTHING, Answer, Rank, Seen, Standing
from lalepass_service.adapters.sql.tables import retired_names
from lalepass_service.adapters.sql.watching import Watch
from lalepass_service.core.errors import StoreUnavailable
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.databases import server_of
from tests.lalepass_service.waiting import until
from tests.servers.faults import Link
from tests.servers.pair import Pair
from tests.servers.postgres import Database as OnServer
from tests.servers.psql import url_of

pytestmark = pytest.mark.anyio

_FENCE = 30
_RETIRE = "INSERT INTO retired_names VALUES (?, '2026-01-01')"


@dataclass
class Ways:
    """All ways to a database, with one watch over it."""

    server: PostgresServer
    watch: Watch
    database: Database
    hot: PostgresPaths
    fences: Fences

    async def there(self) -> list[set[str]]:
        """Return what each way has."""

        def names(session: Session) -> set[str]:
            return {name for (name,) in session.run("SELECT localpart FROM retired_names")}

        async with self.database.read() as connection:
            by_engine = set((await connection.execute(select(retired_names.c.localpart))).scalars())
        return [await self.hot.read(names), by_engine]

    async def retire(self, name: str) -> None:
        async with self.database.write() as connection:
            await connection.execute(insert(retired_names).values(localpart=name, retired_at=NOW))


@asynccontextmanager
async def ways_to(server: PostgresServer) -> AsyncIterator[Ways]:
    watch = Watch(server)
    await watch.look()
    database = open_server(server)
    hot = PostgresPaths.open(server, threads=2)
    fences = Fences(server)
    try:
        yield Ways(server, watch, database, hot, fences)
    finally:
        await hot.close()
        await database.close()
        await watch.close()
        fences.close()


@pytest.fixture
def server(postgres_pair: Pair, pair_database: OnServer) -> PostgresServer:
    """Both of the pair, the primary first."""
    ports = (postgres_pair.primary.port, postgres_pair.standby.port)
    made = replace(
        server_of(pair_database), url=url_of(*ports, database=pair_database.name), timeout=1.0
    )
    upgrade(made)
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    return made


async def soon(watch: Watch, server: PostgresServer, timeline: int) -> None:
    async with asyncio.timeout(_FENCE):
        while server.primaries.timeline != timeline:
            await watch.look()


async def test_an_old_primary_is_left_by_all(
    server: PostgresServer,
    postgres_pair: Pair,
    pair_database: OnServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ways_to(server) as ways:
        before = server.primaries.timeline
        await ways.retire("before")
        assert await ways.there() == [{"before"}, {"before"}]
        fence = ways.fences.now()
        postgres_pair.standby.wait_for_replay(postgres_pair.primary)
        postgres_pair.promote_away()
        new, old = postgres_pair.primary, postgres_pair.standby
        new.sql("INSERT INTO retired_names VALUES ('new', now())", database=pair_database.name)
        # As yet nobody has looked: this is what the watch is for.
        assert await ways.there() == [{"before"}, {"before"}]

        with caplog.at_level(logging.WARNING):
            await soon(ways.watch, server, before + 1)

        assert server.primaries.writing == 2
        assert f"127.0.0.1:{new.port}" in caplog.text
        assert await ways.there() == [{"before", "new"}] * 2
        assert ways.fences.now().timeline == fence.timeline + 1
        await ways.retire("after")
        assert "after" not in old.sql(
            "SELECT localpart FROM retired_names", database=pair_database.name
        )
        assert server.primaries.dropped >= 3


async def test_what_an_old_primary_would_commit_is_not_acknowledged(
    server: PostgresServer,
) -> None:
    async with ways_to(server) as ways:
        standing = server.primaries.standing
        least = standing.least
        assert least is not None
        newer = replace(standing, least=Rank(least.system, least.timeline + 1))

        async def retire_and_see(standing: Standing) -> None:
            async with ways.database.write() as connection:
                await connection.execute(
                    insert(retired_names).values(localpart="a", retired_at=NOW)
                )
                server.primaries.standing = standing

        # Seen while the change is under way: it is not made.
        with pytest.raises(WrongPrimary, match="newer primary"):
            await retire_and_see(newer)
        server.primaries.standing = standing
        with pytest.raises(WrongPrimary, match="two servers"):
            await retire_and_see(replace(standing, doubted=True))
        server.primaries.standing = standing
        assert await ways.there() == [set(), set()]

        # Seen while it is committed: nobody is told that it was.
        def see(_: object) -> None:
            server.primaries.standing = newer

        event.listen(Engine, "commit", see)
        try:
            with pytest.raises(WrongPrimary, match="newer primary"):
                await ways.retire("b")
        finally:
            event.remove(Engine, "commit", see)


async def test_an_old_primary_is_not_believed_either_when_the_new_one_is_away(
    server: PostgresServer, postgres_pair: Pair
) -> None:
    async with ways_to(server) as ways:
        await ways.there()
        before = server.primaries.timeline
        postgres_pair.promote_away()
        await soon(ways.watch, server, before + 1)
        postgres_pair.primary.kill()
        await ways.watch.look()

        with pytest.raises(StoreUnavailable):
            await ways.there()
        with pytest.raises(StoreUnavailable):
            await ways.database.ping(_FENCE)
        with pytest.raises(StoreUnavailable):
            await asyncio.to_thread(ways.fences.now)
        with pytest.raises(StoreUnavailable):
            await ways.retire("never")

        postgres_pair.primary.start()
        assert await ways.there() == [set(), set()]
        await ways.database.ping(_FENCE)


async def test_a_promotion_that_was_taken_back_is_believed_when_both_say_so(
    server: PostgresServer, postgres_pair: Pair
) -> None:
    async with ways_to(server) as ways:
        before = server.primaries.timeline
        postgres_pair.promote_away()
        await soon(ways.watch, server, before + 1)
        postgres_pair.primary.follow(postgres_pair.standby)

        await soon(ways.watch, server, before)
        assert await ways.there() == [set(), set()]


async def test_two_that_can_not_be_told_apart_are_not_changed(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with ways_to(server) as ways:
        rank = Rank(1, 2)
        two = [Seen(rank=rank, writes=True, server=name) for name in ("one", "other")]
        server.primaries.standing = NOTHING
        ways.watch.conclude(two)
        # One may just have been restarted: that is not told yet.
        assert server.primaries.standing.doubted
        with caplog.at_level(logging.ERROR):
            for _ in range(2):
                with pytest.raises(WrongPrimary):
                    await ways.retire("never")
                with pytest.raises(WrongPrimary):
                    await ways.hot.write(lambda session: session.run(_RETIRE, ("never",)))
                ways.watch.conclude(two)
                assert server.primaries.split
        assert caplog.text.count("nothing is changed") == 1

        with caplog.at_level(logging.ERROR):
            ways.watch.conclude([two[0], None])
        assert server.primaries.split
        assert "old primary" not in caplog.text
        server.primaries.standing = NOTHING
        await ways.watch.look()
        await ways.retire("again")


async def test_one_server_by_two_names_is_one(
    postgres_pair: Pair, pair_database: OnServer, server: PostgresServer
) -> None:
    port = postgres_pair.primary.port
    twice = replace(server_of(pair_database), url=url_of(port, port, database=pair_database.name))
    with closing(psycopg.connect(**server.parameters())):
        watch = Watch(twice)
        for _ in range(3):
            await watch.look()
        assert twice.primaries.writing == 1
        assert not twice.primaries.split
        await watch.close()


async def test_a_host_that_is_dark_holds_up_nobody_who_looks(
    postgres_pair: Pair, pair_database: OnServer
) -> None:
    with Link(postgres_pair.standby.port) as dark:
        dark.lose()
        ports = (dark.port, postgres_pair.primary.port)
        url = url_of(*ports, database=pair_database.name)
        watched = replace(server_of(pair_database), url=url, timeout=3.0)
        async with asyncio.timeout(_FENCE):
            watch = Watch(watched)
            for _ in range(3):
                await watch.look()
        assert watched.primaries.standing.host == 1
        assert watched.primaries.first == 1
        await watch.close()


def told(caplog: pytest.LogCaptureFixture, *looks: tuple[Answer, ...]) -> list[str]:
    """Return what is told after these looks, each of which is done three times."""
    watch = Watch(PostgresServer(url="postgresql://db1,db2/x"))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for answers in looks:
            for _ in range(3):
                watch.conclude(answers)
    return [record.getMessage() for record in caplog.records]


def primary(timeline: int, *, system: int = 7, server: str = "") -> Seen:
    return Seen(rank=Rank(system, timeline), writes=True, server=server or f"{system} {timeline}")


def standby(timeline: int) -> Seen:
    return Seen(rank=Rank(7, timeline), writes=False, server="standby")


_WELL = (primary(1), standby(1))


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        ([_WELL], []),
        ([_WELL, (primary(1), primary(2))], [("an old primary goes on (db1)", "one is db2")]),
        (
            [_WELL, (primary(1), primary(2)), (primary(1), None)],
            [
                ("an old primary goes on (db1)", "one is db2"),
                ("newest primary of the database (timeline 2) does not answer", "(db1) is not"),
            ],
        ),
        (
            [_WELL, (None, standby(1)), _WELL],
            [("no database server answers",), ("there is one database server again", "db1")],
        ),
        ([_WELL, (CLOSED, primary(2))], []),
        ([(primary(1), standby(2))], [("db2 is a standby", "newer timeline", "db1")]),
        (
            [(primary(2, server="one"), primary(2)), (primary(2, server="one"), None)],
            [("several database servers take writes (db1, db2)",)],
        ),
        (
            [_WELL, (None, primary(1, system=8)), (standby(1), primary(1, system=8))],
            [
                ("db2 is of another installation (system 8)", "restart"),
                ("there is one database server again", "db2"),
            ],
        ),
    ],
)
async def test_what_is_new_is_told_once_and_names_the_hosts(
    looks: list[tuple[Answer, ...]],
    words: list[tuple[str, ...]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = told(caplog, *looks)
    assert len(lines) == len(words), lines
    for line, said in zip(lines, words, strict=True):
        assert [each for each in said if each not in line] == []


async def test_a_server_that_is_silent_for_one_look_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch(PostgresServer(url="postgresql://db1,db2/x"))
    with caplog.at_level(logging.WARNING):
        for answers in (_WELL, (None, None), _WELL):
            watch.conclude(answers)
    assert caplog.text == ""


async def test_a_port_where_nothing_listens_is_not_one_that_is_silent(
    postgres_pair: Pair, pair_database: OnServer
) -> None:
    with Link(postgres_pair.primary.port) as dark:
        dark.lose()
        url = url_of(postgres_pair.primary.port, 1, dark.port, database=pair_database.name)
        watched = replace(server_of(pair_database), url=url, timeout=1.0)
        hosts = [Host(watched, number) for number in range(3)]
        await asyncio.wait([each.begin() for each in hosts])
        seen, closed, silent = [each.take() for each in hosts]
        assert isinstance(seen, Seen)
        assert closed is CLOSED
        assert silent is None
        for each in hosts:
            await each.close()


async def test_the_first_look_waits_for_those_that_are_slow(
    server: PostgresServer, postgres_pair: Pair, pair_database: OnServer
) -> None:
    """The old one answers at once, and the newer one not within the patience of later looks."""
    postgres_pair.promote_away()
    new, old = postgres_pair.primary, postgres_pair.standby
    with Link(new.port) as slow:
        # Each way, several of which a connection takes.
        slow.delay = 0.2
        url = url_of(old.port, slow.port, database=pair_database.name)
        watched = replace(server, url=url, timeout=20.0, primaries=Primaries())
        watch = Watch(watched)
        await watch.begin()
        assert watched.primaries.writing == 2
        assert watched.primaries.first == 1
        await watch.close()


async def test_the_first_look_goes_on_while_there_is_a_doubt(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(server)
    answers = [(primary(2, server="before"), primary(2, server="after")), _WELL]

    async def look(*, patience: float) -> None:
        assert patience >= server.timeout
        watch.conclude(answers.pop(0))

    monkeypatch.setattr(watch, "look", look)
    await watch.begin()
    assert answers == []
    server.primaries.may_write(changes=True)


async def test_a_fault_of_ours_does_not_end_the_watch(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(server)
    looks: list[None] = []

    async def fail() -> None:
        looks.append(None)
        raise RuntimeError("not foreseen")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(watch, "look", fail)
        running = asyncio.create_task(watch.run())
        await until(lambda: len(looks) >= 2)
        assert caplog.text.count("could not be looked at") == 1
        assert server.primaries.looked is None
    await until(lambda: server.primaries.up)
    assert server.primaries.age < _FENCE
    running.cancel()
    await asyncio.wait((running,))
    await watch.close()


async def test_an_answer_that_is_none_does_not_hide_those_of_others(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def odd(at: PostgresServer, number: int) -> "psycopg.AsyncConnection[Any]":
        if number == 1:
            raise RuntimeError("not foreseen")
        return await connect_to_host(at, number)

    monkeypatch.setattr(asking, "connect_to_host", odd)
    watch = Watch(server)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await watch.look()
    assert server.primaries.up
    assert caplog.text.count("could not be looked at") == 1
    await watch.close()


async def test_a_newer_primary_is_believed_while_others_are_silent(
    server: PostgresServer, postgres_pair: Pair, pair_database: OnServer
) -> None:
    with Link(postgres_pair.primary.port) as dark:
        dark.lose()
        ports = (dark.port, postgres_pair.primary.port, postgres_pair.standby.port)
        url = url_of(*ports, database=pair_database.name)
        watched = replace(server, url=url, timeout=_FENCE, primaries=Primaries())
        watch = Watch(watched)
        await watch.look()
        before = watched.primaries.timeline
        postgres_pair.promote_away()
        looking = asyncio.create_task(watch.look(patience=_FENCE))
        await until(lambda: watched.primaries.timeline == before + 1)
        assert not looking.done()
        looking.cancel()
        await asyncio.wait((looking,))
        await watch.close()


async def test_one_name_that_leads_to_another_server_is_noticed(
    server: PostgresServer,
    postgres_pair: Pair,
    pair_database: OnServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "_ANEW", 0.0)
    with Link(postgres_pair.primary.port) as link:
        url = url_of(link.port, database=pair_database.name)
        watched = replace(server, url=url, primaries=Primaries())
        watch = Watch(watched)
        await watch.look()
        before = watched.primaries.timeline
        postgres_pair.promote_away()
        link.lead_to(postgres_pair.primary.port)
        await soon(watch, watched, before + 1)
        # Back, for a moment or for good.
        link.lead_to(postgres_pair.standby.port)
        await watch.look()
        assert watched.primaries.timeline == before + 1
        await soon(watch, watched, before)
        await watch.close()


async def test_a_server_that_does_not_tell_its_rank_is_used_all_the_same(
    server: PostgresServer,
    postgres_pair: Pair,
    pair_database: OnServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    postgres_pair.primary.sql(
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", database=pair_database.name
    )
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    with caplog.at_level(logging.WARNING):
        async with ways_to(server) as ways:
            assert server.primaries.up
            assert server.primaries.writing == 1
            await ways.retire("one")
            assert await ways.there() == [{"one"}, {"one"}]
            await ways.watch.look()
    assert server.learned.tells_no_rank
    assert caplog.text.count("does not tell its timeline") == 1

    # Who connects before anybody has looked.
    by_itself = replace(server, learned=Learned(), primaries=Primaries())
    by_itself.primaries.watched = True
    OpenSession.to(by_itself).close()
    assert by_itself.learned.tells_no_rank
    by_itself = replace(server, learned=Learned(), primaries=Primaries())
    by_itself.primaries.watched = True
    await (await connect_async(by_itself)).close()
    assert by_itself.learned.tells_no_rank


async def test_it_goes_on_when_there_is_nobody(server: PostgresServer) -> None:
    nowhere = replace(server, url=url_of(1, 2, database="x"))
    watch = Watch(nowhere)
    running = asyncio.create_task(watch.run())
    await watch.look()
    await until(lambda: nowhere.primaries.watched)
    assert not running.done()
    assert nowhere.primaries.writing == 0
    running.cancel()
    await watch.close()
