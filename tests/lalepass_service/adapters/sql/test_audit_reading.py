"""The trail is read at any size: no statement looks at more of it than a stretch."""

import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from lalepass_service.adapters.sql.audit import INSERT, SqlTrail, row_of
from lalepass_service.adapters.sql.engine import translated
from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.session import Session, SqliteSession
from lalepass_service.core.audit import Entry, Event
from lalepass_service.core.errors import StoreUnavailable
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.databases import fresh, opened

if TYPE_CHECKING:
    from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio

T = TypeVar("T")


@pytest.fixture(params=["sqlite", "postgresql"])
async def hot(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Hot]:
    async with opened(fresh(request.param, request, tmp_path)) as at:
        yield at.hot


def entries(count: int) -> list[Entry]:
    """Many, hardly in the order of their times: replicas write in batches."""
    chance = random.Random(count)  # noqa: S311 - the same ones each time
    return [
        Entry(
            at=NOW + timedelta(seconds=number + chance.randrange(-20, 20)),
            event=chance.choice([Event.CHECK, Event.CHECK, Event.CHECK, Event.USER_ADDED]),
            outcome=chance.choice(["accepted", "refused_credentials"]),
            actor=chance.choice(["synapse", "operator:root"]),
            localpart=chance.choice(["alice", "bob", None]),
            request_id=str(number),
        )
        for number in range(count)
    ]


def time(seconds: int) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


CONDITIONS: list[tuple[dict[str, str], Callable[[Entry], bool]]] = [
    ({}, lambda _: True),
    ({"event": "user_added"}, lambda entry: entry.event == Event.USER_ADDED),
    ({"event": "nothing"}, lambda _: False),
    ({"localpart": "alice"}, lambda entry: entry.localpart == "alice"),
    ({"localpart": "nobody"}, lambda _: False),
    ({"since": time(100)}, lambda entry: entry.at >= NOW + timedelta(seconds=100)),
    ({"until": time(40)}, lambda entry: entry.at < NOW + timedelta(seconds=40)),
    (
        {"since": time(20), "until": time(130), "outcome": "accepted"},
        lambda entry: (
            NOW + timedelta(seconds=20) <= entry.at < NOW + timedelta(seconds=130)
            and entry.outcome == "accepted"
        ),
    ),
    (
        {"localpart": "bob", "actor": "synapse", "since": time(50)},
        lambda entry: (
            entry.localpart == "bob"
            and entry.actor == "synapse"
            and entry.at >= NOW + timedelta(seconds=50)
        ),
    ),
]


@pytest.mark.parametrize("stretch", [1, 7, 64, 1000])
async def test_the_same_is_found_whatever_a_stretch_is(hot: Hot, stretch: int) -> None:
    written = entries(150)
    trail = SqlTrail(hot, stretch=stretch)
    for entry in written:
        trail.record(entry)
    await trail.flush()
    # As after a deletion of the old, and with a hole.
    await hot.write(lambda session: session.run("DELETE FROM audit WHERE id <= 10 OR id = 77"))
    numbered = [(i, entry) for i, entry in enumerate(written, 1) if i > 10 and i != 77]

    for conditions, wanted in CONDITIONS:
        expected = [(number, entry) for number, entry in numbered if wanted(entry)]
        async with aclosing(trail.pages(conditions=conditions)) as pages:
            assert [each async for page in pages for each in page] == expected
        assert await trail.entries(conditions=conditions) == expected
        assert await trail.entries(conditions=conditions, limit=5) == expected[:5]
        assert await trail.entries(conditions=conditions, limit=5, newest=True) == expected[-5:]
        behind = [each for each in expected if each[0] > 100]
        assert await trail.entries(conditions=conditions, after=100) == behind
        assert await trail.entries(conditions=conditions, after=100, newest=True) == behind


async def test_an_empty_trail_has_nothing(hot: Hot) -> None:
    for conditions, _ in CONDITIONS:
        assert await SqlTrail(hot).entries(conditions=conditions) == []
        assert await SqlTrail(hot).entries(conditions=conditions, newest=True) == []


class Impatient:
    """A way to a file that gives up after so many thousand steps of SQLite's machine."""

    def __init__(self, path: Path, *, steps: int) -> None:
        self._connection = sqlite3.connect(path, factory=SqliteSession)
        self._steps = steps

    async def read(self, work: Callable[[Session], T]) -> T:
        with translated():
            steps = iter(range(self._steps))
            self._connection.set_progress_handler(lambda: next(steps, None) is None, 1000)
            return work(self._connection)

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        ({"event": "user_added"}, 1),
        ({"outcome": "refused_credentials"}, 0),
        ({"actor": "operator:root", "since": time(0)}, 1),
        ({"actor": "operator:root", "localpart": "alice"}, 0),
        ({"event": "user_added", "until": time(10**9)}, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("newest", [False, True])
async def test_a_file_of_any_size_is_gone_through(
    path: Path, conditions: dict[str, str], count: int, *, newest: bool
) -> None:
    check = Entry(at=NOW, event=Event.CHECK, outcome="accepted", actor="synapse", localpart="alice")
    act = replace(check, event=Event.USER_ADDED, actor="operator:root", localpart="bob")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            INSERT, [row_of(act if number == 10_000 else check) for number in range(20_000)]
        )
    # A statement that looks at all of them takes some 100 000 steps.
    with closing(Impatient(path, steps=20)) as impatient:
        hot: Hot = impatient  # type: ignore[assignment] # it only reads
        with pytest.raises(StoreUnavailable):
            await hot.read(lambda session: session.run("SELECT max(outcome) FROM audit").fetchall())

        trail = SqlTrail(hot, stretch=200)
        found = await trail.entries(conditions=conditions, newest=newest)
        assert len(found) == count
        pages = [page async for page in trail.pages(conditions=conditions)]
        assert sum(map(len, pages)) == count


SLOW = """
    CREATE FUNCTION slowly(value text) RETURNS text LANGUAGE plpgsql STABLE AS
    $$ BEGIN PERFORM pg_sleep(0.004); RETURN value; END $$;
    ALTER TABLE audit RENAME TO quick;
    CREATE VIEW audit AS SELECT id, at, slowly(event) AS event, outcome, actor, user_id, localpart,
    source_ip, user_agent, request_id, details FROM quick;
    GRANT SELECT ON audit TO PUBLIC; GRANT SELECT ON quick TO PUBLIC
"""


async def test_a_server_is_gone_through_though_a_statement_would_take_too_long(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = fresh("postgresql", request, tmp_path)
    assert not isinstance(store, Path)
    store = replace(store, timeout=2.0)
    async with opened(store) as at:
        writing = SqlTrail(at.hot)
        for number in range(1000):
            event = Event.USER_ADDED if number == 500 else Event.CHECK
            writing.record(Entry(at=NOW, event=event, outcome="done", actor="synapse"))
        await writing.flush()
        server: Postgres = request.getfixturevalue("postgres_server")
        server.sql(SLOW, database=store.url.rpartition("/")[2].partition("?")[0])
        with pytest.raises(StoreUnavailable):
            await at.hot.read(
                lambda session: session.run(
                    "SELECT id FROM audit WHERE event = ?", ["user_added"]
                ).fetchall()
            )

        found = await SqlTrail(at.hot, stretch=50).entries(conditions={"event": "user_added"})
        assert [number for number, _ in found] == [501]
