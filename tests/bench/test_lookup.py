"""The measurement of the look-up: what it fills, what it refuses, what it compares."""

from pathlib import Path

import pytest

from bench import bench_lookup
from bench.bench_lookup import NoRoom, Round, Way
from bench.figures import Figure
from tests.servers.postgres import Postgres


@pytest.mark.parametrize(
    ("accounts", "ranges"),
    [
        (1000, [(0, 999)]),
        (500_000, [(0, 499_999)]),
        (500_001, [(0, 499_999), (500_000, 500_000)]),
    ],
)
def test_all_accounts_are_filled_once(accounts: int, ranges: list[tuple[int, int]]) -> None:
    assert list(bench_lookup.chunks(accounts)) == ranges


def test_a_machine_without_room_is_told_in_a_sentence(tmp_path: Path) -> None:
    bench_lookup.require_room(1000, tmp_path)

    with pytest.raises(NoRoom, match=r"^\d+ accounts want \d+ GiB of disk, and \d+ are free$"):
        bench_lookup.require_room(10**15, tmp_path)


def test_a_round_is_compared_with_itself() -> None:
    """A machine that is ten times slower in one round says nothing about the accounts."""
    quick = Round(few=[1.0, 1.0, 2.0], many=[1.05, 1.05, 2.4])
    slow = Round(few=[10.0, 10.0, 20.0], many=[10.5, 10.5, 24.0])
    told = bench_lookup.figures([quick, slow, slow], [quick], accounts=5000)

    def value(name: str) -> Figure:
        (found,) = [figure for figure in told if figure.name == name]
        return found

    assert value("p50, as times that of 1000").value == pytest.approx(1.05)
    assert value("p50, as times that of 1000").reached is True
    assert value("p99, as times that of 1000").value == pytest.approx(1.2)
    assert value("p99, as times that of 1000").reached is False
    assert value("5000 accounts, p50").value == 10.5


@pytest.mark.anyio
async def test_who_is_filled_in_is_found_and_nobody_else(postgres_server: Postgres) -> None:
    filled = bench_lookup.fill(postgres_server, 30)
    async with Way(filled) as way:
        for _ in range(20):
            assert await way.milliseconds(known=True) > 0
            assert await way.milliseconds(known=False) > 0
    ids = filled.database.sql("SELECT length(min(id)), min(length(id)), max(length(id)) FROM users")
    postgres_server.drop_database(filled.database.name)

    assert filled.accounts == 30
    assert ids == "36\t36\t36"
