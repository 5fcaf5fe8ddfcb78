"""What one of several replicas does for all is done by one of them."""

from datetime import timedelta
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.migrate import Store
from lalepass_service.adapters.sql.turns import SqlTurns, Turn
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.databases import fresh, opened
from tests.lalepass_service.adapters.sql.processes import go, start

pytestmark = pytest.mark.anyio

_DAY = timedelta(days=1)
_PATIENCE = 100

# Takes 40 turns if it can, and says how many it got.
_TAKE = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.turns import SqlTurns
from lalepass_service.core.model import Password
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.databases import opened

async def main(where, password):
    secret = Password(Path(password).read_text()) if password else None
    store = PostgresServer(url=where, password=secret) if password else Path(where)
    async with opened(store) as at:
        turns = SqlTurns(at.hot)
        sys.stdin.readline()
        got = [await turns.take(f"n{n}", now=NOW, every=timedelta(days=1)) for n in range(40)]
    print(sum(each is not None for each in got))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return fresh(request.param, request, tmp_path)


async def test_there_is_one_turn_a_day(store: Store) -> None:
    async with opened(store) as at:
        turns = SqlTurns(at.hot)

        async def take(days: float, name: str = "trail") -> bool:
            turn = await turns.take(name, now=NOW + timedelta(days=days), every=_DAY)
            return turn is not None

        assert [await take(days) for days in (0, 0, 0.9)] == [True, False, False]
        assert await take(0, "another")
        assert [await take(days) for days in (1, 1.1, 3)] == [True, False, True]
        # A clock that went wrong is not waited for.
        assert [await take(days) for days in (3000, 4, 4.5)] == [True, True, False]


async def test_a_turn_says_when_the_one_before_it_was(store: Store) -> None:
    async with opened(store) as at:
        turns = SqlTurns(at.hot)
        times = [NOW + timedelta(days=days, microseconds=1) for days in (0, 1, 3000, 2)]

        taken = [await turns.take("trail", now=now, every=_DAY) for now in times]

    assert taken == [Turn(None), *(Turn(before) for before in times[:-1])]


async def test_of_three_processes_each_turn_is_taken_once(
    store: Store, request: pytest.FixtureRequest
) -> None:
    arguments = [str(store), ""]
    if not isinstance(store, Path):
        server = request.getfixturevalue("postgres_server")
        arguments = [store.url, str(server.password_path)]
    processes = [start(_TAKE, *arguments) for _ in range(3)]
    for process in processes:
        go(process)
    said = [process.communicate(timeout=_PATIENCE) for process in processes]

    assert [wrong for _, wrong in said] == [""] * 3
    assert sum(int(number) for number, _ in said) == 40
