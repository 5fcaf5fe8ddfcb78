"""What measurements on servers make of what they have counted."""

import pytest

from bench import bench_replicas, bench_stores
from bench.bench_replicas import Turn
from bench.bench_stores import Written
from bench.figures import Figure
from tests.servers.postgres import Database


def named(figures: list[Figure], name: str) -> Figure:
    (found,) = [figure for figure in figures if figure.name == name]
    return found


def test_what_a_store_adds_is_of_each_turn_by_itself() -> None:
    """A machine that is twice as slow in the second turn says nothing about the store."""
    told = bench_stores.added({"a file": [10.0, 20.0, 30.0], "a server": [11.0, 21.0, 35.0]})

    assert named(told, "a file: a check, p50").value == 20.0
    assert named(told, "a server: a check, p99").value == 35.0
    assert named(told, "a server: added to a file, p50").value == 1.0


def written(*, transactions: int, lanes: int) -> Written:
    return Written(
        logins=10, transactions=transactions, batches=2, rows={"audit": 10, "lanes": lanes}
    )


@pytest.mark.parametrize(
    ("transactions", "lanes", "reached"),
    [(2, 0, [True, True]), (3, 0, [False, True]), (3, 1, [False, False])],
)
def test_the_trail_is_no_write_of_a_login(
    transactions: int, lanes: int, reached: list[bool]
) -> None:
    found = written(transactions=transactions, lanes=lanes)
    told = bench_stores.told("it", found, aim=True)

    assert [figure.reached for figure in told] == [*reached, None, None]
    assert [figure.value for figure in told[:2]] == [(transactions - 2) / 10, lanes / 10]
    assert [figure.value for figure in told[2:]] == [1.0, 0.2]


@pytest.fixture
def counted(postgres_database: Database) -> Database:
    postgres_database.sql("CREATE TABLE audit (id bigint PRIMARY KEY, outcome text NOT NULL)")
    return postgres_database


def test_batches_are_told_from_entries(counted: Database) -> None:
    counted.sql("INSERT INTO audit VALUES (1, 'accepted')")
    before = bench_stores.Counts(transactions=100, rows={"audit": 1, "lanes": 0}, trail=1)
    counted.sql("INSERT INTO audit VALUES (2, 'accepted'), (3, 'refused_credentials')")
    counted.sql("INSERT INTO audit VALUES (4, 'accepted')")
    after = bench_stores.Counts(transactions=105, rows={"audit": 4, "lanes": 2}, trail=4)

    found = bench_stores.between(counted, before, after)

    assert found == Written(logins=2, transactions=5, batches=2, rows={"audit": 3, "lanes": 2})


def turn(replicas: int, *, checks: int) -> Turn:
    return Turn(
        replicas=replicas,
        checks=checks,
        seconds=2.0,
        service_cpu=checks / 1000,
        postgres_cpu=checks / 2000,
        valkey_cpu=checks / 4000,
    )


@pytest.mark.parametrize(("four", "reached"), [(400, True), (380, True), (379, False)])
def test_replicas_are_held_against_one_of_the_same_round(four: int, *, reached: bool) -> None:
    rounds = [
        {count: turn(count, checks=checks) for count, checks in counts.items()}
        for counts in ({1: 100, 2: 200, 4: four}, {1: 50, 2: 100, 4: four // 2})
    ]
    told = bench_replicas.figures(rounds[:1], hash_seconds=0.02)

    assert named(told, "one replica could, with nothing beside the hash").value == 50.0
    assert named(told, "1 replica").value == 50.0
    assert named(told, "2 replicas, share of 2 times one").reached is True
    assert named(told, "4 replicas, share of 4 times one").reached is reached
    assert named(told, "a check, processor time of the service").value == pytest.approx(1.0)
    both = bench_replicas.figures(rounds, hash_seconds=0.02)
    assert named(both, "4 replicas, share of 4 times one").value == pytest.approx(four / 400, 0.01)
