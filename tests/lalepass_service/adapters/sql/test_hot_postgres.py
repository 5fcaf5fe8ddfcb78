"""Threads with a connection each: what has returned is there, and a server in trouble is noticed.

The work of these tests goes on `retired_names`, as in `test_hot`.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from lalepass_service.adapters.sql.hot_postgres import PostgresPaths
from lalepass_service.adapters.sql.migrate import upgrade
from lalepass_service.adapters.sql.postgres import LOCK, PostgresServer
from lalepass_service.adapters.sql.postgres_engine import open_server
from lalepass_service.adapters.sql.session import Session
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.identifiers import ByLocalpart
from tests.lalepass_service.accounts import ACT
from tests.lalepass_service.adapters.databases import server_of
from tests.lalepass_service.adapters.stores import ALICE, RECORD
from tests.lalepass_service.waiting import until
from tests.servers.faults import Link
from tests.servers.pair import Pair
from tests.servers.postgres import Database, Postgres
from tests.servers.psql import url_of

pytestmark = pytest.mark.anyio

_TIMEOUT = 0.5
_FENCE = 30
_RETIRE = "INSERT INTO retired_names VALUES (?, '2026-01-01')"
_TOUCH = "UPDATE retired_names SET retired_at = now() WHERE localpart = ?"


@pytest.fixture
def on_server(postgres_server: Postgres, template: str) -> Any:
    made = postgres_server.create_database(template=template)
    yield made
    postgres_server.drop_database(made.name)


@pytest.fixture
async def hot(on_server: Database) -> AsyncIterator[PostgresPaths]:
    hot = PostgresPaths.open(server_of(on_server))
    yield hot
    await hot.close()


@pytest.fixture
async def broken(pair_database: Database) -> PostgresServer:
    """A database whose server the test may break."""
    server = replace(server_of(pair_database), timeout=_TIMEOUT)
    upgrade(server)
    return server


def retire(name: str) -> Callable[[Session], str]:
    def work(session: Session) -> str:
        session.run(_RETIRE, (name,))
        return name

    return work


def names(session: Session) -> set[str]:
    return {name for (name,) in session.run("SELECT localpart FROM retired_names")}


def there(on_server: Database) -> set[str]:
    return set(on_server.sql("SELECT localpart FROM retired_names").split())


async def soon(work: Callable[[], Any]) -> Any:
    """Ask until there is an answer, as callers do."""
    async with asyncio.timeout(_FENCE):
        while True:
            try:
                return await work()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "setting", ["datestyle = 'SQL, DMY'", "datestyle = 'German'", "client_encoding = 'LATIN1'"]
)
async def test_times_and_names_are_read_whatever_the_role_has(
    on_server: Database, setting: str
) -> None:
    on_server.server.sql(f"ALTER DATABASE {on_server.name} SET {setting}")
    database = open_server(server_of(on_server))
    hot = PostgresPaths.open(server_of(on_server))
    person = replace(ALICE, display_name="Zoë 漢字")
    await SqlUsers(database).add(person, RECORD, reuse_name=False, act=ACT)

    for users in (SqlUsers(database), SqlUsers(database, reads=hot)):
        found = await users.find(ByLocalpart(person.localpart))
        assert found is not None
        assert (found.display_name, found.created_at) == ("Zoë 漢字", person.created_at)
    await hot.close()
    await database.close()


async def test_what_has_returned_is_there(hot: PostgresPaths, on_server: Database) -> None:
    written = await asyncio.gather(
        *(hot.write(retire(f"w{n}")) for n in range(100)),
        *(hot.step(retire(f"s{n}"), key=str(n)) for n in range(100)),
    )

    assert there(on_server) == set(written) == await hot.read(names)


@pytest.mark.parametrize("way", ["write", "step"])
async def test_a_constraint_is_its_callers_and_fails_nobody_else(
    hot: PostgresPaths, on_server: Database, way: str
) -> None:
    def ask(name: str) -> Any:
        return (
            hot.write(retire(name)) if way == "write" else hot.step(retire(name), key="one for all")
        )

    outcomes = await asyncio.gather(*map(ask, ("a", "b", "a", "c")), return_exceptions=True)

    assert outcomes[0] == "a"
    assert isinstance(outcomes[2], psycopg.IntegrityError)
    assert (outcomes[1], outcomes[3]) == ("b", "c")
    assert there(on_server) == {"a", "b", "c"}


async def test_a_fault_of_the_work_is_its_callers(hot: PostgresPaths) -> None:
    def fault(_: Session) -> None:
        raise ZeroDivisionError

    for ask in (hot.read(fault), hot.write(fault), hot.step(fault, key="")):
        with pytest.raises(ZeroDivisionError):
            await ask
    assert await hot.read(names) == set()


async def test_nothing_of_a_failed_transaction_stays(
    hot: PostgresPaths, on_server: Database
) -> None:
    def half(session: Session) -> None:
        session.run(_RETIRE, ("half",))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await hot.write(half)

    assert there(on_server) == set()
    assert await hot.write(retire("whole")) == "whole"


async def test_what_is_written_is_written_by_one_at_a_time(
    hot: PostgresPaths, on_server: Database
) -> None:
    """Two processes that add what they have counted never count the same."""
    other = PostgresPaths.open(server_of(on_server))

    def count_on(session: Session) -> None:
        session.run(_RETIRE, (f"n{len(names(session))}",))

    await asyncio.gather(*(way.write(count_on) for _ in range(40) for way in (hot, other)))
    await other.close()

    assert there(on_server) == {f"n{number}" for number in range(80)}


async def test_steps_of_a_key_come_one_after_the_other(hot: PostgresPaths) -> None:
    inside, most, seen = 0, 0, list[int]()

    def step(number: int) -> Callable[[Session], None]:
        def work(session: Session) -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            session.run("SELECT pg_sleep(0.001)")
            seen.append(number)
            inside -= 1

        return work

    await asyncio.gather(*(hot.step(step(number), key="alice") for number in range(60)))

    assert most == 1
    assert seen == list(range(60))


async def test_steps_of_other_keys_do_not_wait_for_one_that_hangs(hot: PostgresPaths) -> None:
    go, begun = threading.Event(), threading.Event()

    def hang(_: Session) -> None:
        begun.set()
        go.wait(60)

    hung = asyncio.create_task(hot.step(hang, key="0"))
    try:
        await until(begun.is_set)
        names = [each for each in map(str, range(30)) if hot._of(each) is not hot._of("0")]  # noqa: SLF001 - whose thread it is
        assert await asyncio.gather(*(hot.step(retire(n), key=n) for n in names)) == names
    finally:
        go.set()
    await hung


async def test_a_deadlock_is_tried_again(hot: PostgresPaths) -> None:
    """Two transactions of which each waits for the other: the server ends one of them."""
    await hot.write(retire("a"))
    await hot.write(retire("b"))
    both = threading.Barrier(2)
    runs = list[str]()

    def touch(first: str, second: str) -> Callable[[Session], None]:
        def work(session: Session) -> None:
            runs.append(first)
            session.run("BEGIN")
            try:
                session.run(_TOUCH, (first,))
                if len(runs) <= 2:
                    both.wait(20)
                session.run(_TOUCH, (second,))
                session.run("COMMIT")
            except psycopg.Error:
                session.run("ROLLBACK")
                raise

        return work

    await asyncio.gather(
        hot.step(touch("a", "b"), key="0"), hot.step(touch("b", "a"), key=_other_than("0", hot))
    )

    assert len(runs) >= 3


def _other_than(key: str, hot: PostgresPaths) -> str:
    """Return a key that another thread has."""
    return next(each for each in map(str, range(99)) if hot._of(each) is not hot._of(key))  # noqa: SLF001 - or it waits for itself


async def test_what_is_posted_comes_before_what_is_stepped_later(hot: PostgresPaths) -> None:
    for number in range(300):
        hot.post(retire(f"n{number}"), key="alice")

    assert len(await hot.step(names, key="alice")) == 300


async def test_what_is_posted_is_written_soon_by_itself(
    hot: PostgresPaths, on_server: Database
) -> None:
    hot.post(retire("a"), key="alice")

    await until(lambda: there(on_server) == {"a"})


async def test_what_is_posted_waits_for_nobody_who_writes(on_server: Database) -> None:
    """Nor does what comes to the same thread after it: logins go on beside whoever writes."""
    server = replace(server_of(on_server), timeout=4 * _FENCE)
    hot = PostgresPaths.open(server)
    with psycopg.connect(**server.parameters()) as other, other.transaction():
        other.execute(LOCK)
        hot.post(retire("a"), key="alice")
        await until(lambda: there(on_server) == {"a"})
        async with asyncio.timeout(_FENCE):
            assert await hot.step(names, key="alice") == {"a"}
    await hot.close()


async def test_what_is_posted_and_fails_fails_nobody_else(
    hot: PostgresPaths, on_server: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "a", "b"):
        hot.post(retire(name), key="alice")

    assert await hot.step(retire("c"), key="alice") == "c"
    assert there(on_server) == {"a", "b", "c"}
    await until(lambda: "is lost" in caplog.text)


async def test_closing_finishes_what_is_queued_and_takes_no_more(on_server: Database) -> None:
    hot = PostgresPaths.open(server_of(on_server))
    queued = [asyncio.ensure_future(hot.write(retire(f"n{n}"))) for n in range(50)]
    hot.post(retire("posted"), key="alice")
    await asyncio.sleep(0)
    await hot.close()

    assert len(await asyncio.gather(*queued)) == 50
    assert "posted" in there(on_server)
    for ask in (hot.read(names), hot.write(names), hot.step(names, key="")):
        with pytest.raises(StoreUnavailable):
            await ask


async def test_nobody_waits_for_ever_for_work_that_hangs(on_server: Database) -> None:
    go = threading.Event()
    hot = PostgresPaths.open(replace(server_of(on_server), timeout=0.2), threads=1)
    try:
        hung = asyncio.create_task(hot.read(lambda _: go.wait(60)))
        behind = [asyncio.create_task(hot.read(names)) for _ in range(3)]
        for task in (hung, *behind):
            with pytest.raises(StoreUnavailable):
                await task
    finally:
        go.set()
    assert await soon(lambda: hot.read(names)) == set()
    await hot.close()


async def test_a_lock_of_another_session_is_not_waited_for_for_ever(on_server: Database) -> None:
    server = replace(server_of(on_server), timeout=_TIMEOUT)
    hot = PostgresPaths.open(server)
    with psycopg.connect(**server.parameters()) as other, other.transaction():
        other.execute("LOCK TABLE retired_names")
        outcomes = await asyncio.gather(
            hot.write(retire("a")),
            hot.step(retire("b"), key="b"),
            hot.read(names),
            return_exceptions=True,
        )

    assert all(isinstance(each, StoreUnavailable) for each in outcomes)
    assert await hot.write(retire("after")) == "after"
    # What was given up is not done behind its caller's back.
    assert there(on_server) == {"after"}
    await hot.close()


async def test_a_password_that_is_wrong_is_no_answer(on_server: Database) -> None:
    hot = PostgresPaths.open(replace(server_of(on_server), password=None))

    with pytest.raises(StoreUnavailable):
        await hot.read(names)
    await hot.close()


async def test_a_restart_between_two_jobs_is_noticed_by_nobody(
    broken: PostgresServer, postgres_pair: Pair
) -> None:
    hot = PostgresPaths.open(broken)
    for number in range(9):
        await hot.step(retire(f"s{number}"), key=str(number))
    await hot.write(retire("before"))
    postgres_pair.primary.restart()

    assert await hot.write(retire("after")) == "after"
    done = [await hot.step(retire(f"t{number}"), key=str(number)) for number in range(9)]
    assert len(await hot.read(names)) == 2 * len(done) + 2
    await hot.close()


async def test_a_server_that_is_away_is_no_answer_and_is_found_again(
    broken: PostgresServer, postgres_pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    hot = PostgresPaths.open(broken)
    assert await hot.read(names) == set()
    postgres_pair.primary.kill()
    for ask in (hot.read(names), hot.write(names), hot.step(names, key="")):
        with pytest.raises(StoreUnavailable):
            await ask
    hot.post(retire("lost"), key="alice")
    await until(lambda: "is lost" in caplog.text)
    postgres_pair.primary.start()

    assert await soon(lambda: hot.write(retire("after"))) == "after"
    assert await soon(lambda: hot.read(names)) == {"after"}
    await hot.close()


async def test_a_server_that_stops_in_its_tracks_holds_nobody(
    broken: PostgresServer, postgres_pair: Pair
) -> None:
    """Neither those who ask now, nor those who ask when it goes on, nor the end."""
    hot = PostgresPaths.open(broken, threads=2)
    await asyncio.gather(hot.write(retire("before")), hot.read(names))
    postgres_pair.primary.pause()
    async with asyncio.timeout(_FENCE):
        for ask in (hot.read(names), hot.write(names), hot.step(names, key="")):
            with pytest.raises(StoreUnavailable):
                await ask
        # Each thread lets go of its connection by itself.
        await until(lambda: not hot.busy)
    postgres_pair.primary.resume()
    assert await soon(lambda: hot.write(retire("after"))) == "after"
    assert await soon(lambda: hot.read(names)) == {"before", "after"}

    postgres_pair.primary.pause()
    hot.post(retire("posted"), key="alice")
    async with asyncio.timeout(_FENCE):
        await hot.close()
    postgres_pair.primary.resume()


async def test_what_is_posted_to_a_server_that_has_stopped_frees_its_thread_by_itself(
    broken: PostgresServer, postgres_pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    hot = PostgresPaths.open(broken, threads=1)
    await hot.read(names)
    postgres_pair.primary.pause()
    hot.post(retire("lost"), key="alice")
    await until(lambda: "is lost" in caplog.text, seconds=_FENCE)
    postgres_pair.primary.resume()
    await hot.close()


async def test_a_connection_that_is_cut_is_made_anew(
    on_server: Database, postgres_server: Postgres
) -> None:
    with Link(postgres_server.port) as link:
        server = replace(
            server_of(on_server), url=url_of(link.port, database=on_server.name), timeout=_TIMEOUT
        )
        hot = PostgresPaths.open(server)
        await hot.write(retire("before"))
        link.reset_once()
        assert await hot.write(retire("after")) == "after"

        # The answer to COMMIT is lost: what was written is there, and is written for the second
        # time, which it has to bear. This one does not.
        link.cut_answers(marker=b"COMMIT\0")
        with pytest.raises((StoreUnavailable, psycopg.IntegrityError)):
            await hot.write(retire("maybe"))
        link.heal()
        assert await soon(lambda: hot.read(names)) == {"before", "after", "maybe"}

        link.half_open()
        with pytest.raises(StoreUnavailable):
            await hot.write(retire("never"))
        link.heal()
        assert await soon(lambda: hot.write(retire("again"))) == "again"
        await hot.close()


async def test_after_a_failover_the_new_primary_is_used(
    broken: PostgresServer, pair_database: Database, postgres_pair: Pair
) -> None:
    server = replace(broken, url=postgres_pair.url(pair_database.name))
    hot = PostgresPaths.open(server)
    await hot.write(retire("before"))
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    postgres_pair.fail_over()

    assert await soon(lambda: hot.write(retire("after"))) == "after"
    assert await soon(lambda: hot.read(names)) == {"before", "after"}
    await hot.close()


async def test_a_primary_that_takes_no_writes_any_more_is_left(
    broken: PostgresServer, pair_database: Database, postgres_pair: Pair
) -> None:
    """As after an orderly switch, where the old one goes on to answer."""
    server = replace(broken, url=postgres_pair.url(pair_database.name))
    hot = PostgresPaths.open(server)
    await hot.write(retire("before"))
    await hot.step(retire("too"), key="")
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    postgres_pair.promote_away()
    old = postgres_pair.standby
    old.set("default_transaction_read_only", "on")
    try:
        assert await soon(lambda: hot.write(retire("after"))) == "after"
        assert await soon(lambda: hot.step(retire("at last"), key="")) == "at last"
    finally:
        old.set("default_transaction_read_only", None)
    new = postgres_pair.primary.sql(
        "SELECT localpart FROM retired_names", database=pair_database.name
    )
    assert set(new.split("\n")) == {"before", "too", "after", "at last"}
    await hot.close()
