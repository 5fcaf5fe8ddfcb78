"""A primary and its standby do what tests of failures rely on."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.family import family
from tests.servers.fixtures import left_out_if_missing
from tests.servers.pair import primary, standby
from tests.servers.postgres import SUPERUSER, Database, Postgres
from tests.servers.psql import Refused, url_of

FENCE = 60.0


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FENCE
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)  # noqa: TID251 - with a deadline


@pytest.fixture(scope="module")
def first() -> Iterator[Postgres]:
    with left_out_if_missing(), primary() as server:
        server.sql("CREATE TABLE numbers (number int)")
        yield server


@pytest.fixture(scope="module")
def second(first: Postgres) -> Iterator[Postgres]:
    with standby(first) as server:
        yield server


def add(server: Postgres, number: int) -> None:
    server.sql(f"INSERT INTO numbers VALUES ({number})")


def has(server: Postgres, number: int) -> bool:
    return server.sql(f"SELECT count(*) FROM numbers WHERE number = {number}") == "1"


def test_a_test_has_an_empty_database_whose_owner_has_a_password(
    postgres_database: Database,
) -> None:
    server = postgres_database.server
    assert (
        postgres_database.sql("SELECT count(*) FROM pg_tables WHERE tableowner = 'lalepass'") == "0"
    )
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert postgres_database.sql(owner) == "lalepass"
    assert postgres_database.url == (
        f"postgresql://lalepass@127.0.0.1:{server.port}/{postgres_database.name}"
    )
    assert server.password not in postgres_database.url
    assert server.password_path.stat().st_mode & 0o777 == 0o600


def test_another_test_has_another_one(postgres_server: Postgres) -> None:
    one, other = postgres_server.create_database(), postgres_server.create_database()
    assert one.name != other.name
    for database in (one, other):
        postgres_server.drop_database(database.name)
    with pytest.raises(Refused, match="does not exist"):
        one.sql("SELECT 1")


def test_a_url_can_name_several_servers(first: Postgres, second: Postgres) -> None:
    url = url_of(
        first.port, second.port, database="x", options={"target_session_attrs": "read-write"}
    )
    assert url == (
        f"postgresql://lalepass@127.0.0.1:{first.port},127.0.0.1:{second.port}/x"
        "?target_session_attrs=read-write"
    )


def test_what_is_wrong_is_said(first: Postgres) -> None:
    with pytest.raises(Refused, match='relation "nothing" does not exist'):
        first.sql("SELECT 1 FROM nothing")


def test_a_standby_follows_and_takes_no_writes(first: Postgres, second: Postgres) -> None:
    add(first, 1)
    second.wait_for_replay(first)

    assert has(second, 1)
    assert first.is_primary()
    assert not second.is_primary()
    with pytest.raises(Refused, match="read-only transaction"):
        add(second, 1)


def test_a_standby_that_replays_nothing_falls_behind(first: Postgres, second: Postgres) -> None:
    second.pause_replay()
    add(first, 2)
    with pytest.raises(TimeoutError):
        second.wait_for_replay(first, seconds=0.3)
    assert not has(second, 2)

    second.resume_replay()
    second.wait_for_replay(first)
    assert has(second, 2)


def test_a_standby_can_be_late_for_a_time(first: Postgres, second: Postgres) -> None:
    second.delay_replay(3600)
    until(lambda: second.sql("SHOW recovery_min_apply_delay") == "1h")
    add(first, 3)
    with pytest.raises(TimeoutError):
        second.wait_for_replay(first, seconds=0.3)
    assert not has(second, 3)

    second.delay_replay(0)
    second.wait_for_replay(first)
    assert has(second, 3)


def test_a_synchronous_standby_is_waited_for(first: Postgres, second: Postgres) -> None:
    first.require_standby(second)
    second.pause()
    with ThreadPoolExecutor(1) as thread:
        adding = thread.submit(add, first, 4)
        until(
            lambda: (
                first.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                == "1"
            )
        )
        assert not adding.done()
        second.resume()
        adding.result(timeout=FENCE)
    first.require_standby(None)
    second.pause()
    add(first, 5)
    second.resume()


def test_a_paused_server_keeps_its_connections_and_answers_nobody(first: Postgres) -> None:
    with ThreadPoolExecutor(1) as thread:
        first.pause()
        asking = thread.submit(first.sql, "SELECT 1")
        with pytest.raises(TimeoutError):
            asking.result(timeout=0.3)
        first.resume()
        assert asking.result(timeout=FENCE) == "1"


def test_one_that_is_killed_leaves_no_process_and_loses_nothing(first: Postgres) -> None:
    add(first, 6)
    assert first.pid is not None
    everybody = family(first.pid)
    assert len(everybody) > 3
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(first.sql, "SELECT pg_sleep(60)")
        until(
            lambda: (
                first.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
                == "1"
            )
        )
        first.kill()
        with pytest.raises(Refused, match="closed the connection"):
            asking.result(timeout=FENCE)
    assert not first.alive
    assert all(family(pid) == [pid] for pid in everybody)
    with pytest.raises(Refused, match="Connection refused"):
        first.sql("SELECT 1")

    first.start()
    assert has(first, 6)


def test_one_that_is_killed_while_paused_can_come_back(second: Postgres) -> None:
    second.pause()
    second.kill()
    second.start()
    assert not second.is_primary()


def test_it_is_started_by_who_stays(first: Postgres) -> None:
    with ThreadPoolExecutor(1) as thread, pytest.raises(RuntimeError, match="main thread"):
        thread.submit(first.start).result()
    with pytest.raises(RuntimeError, match="runs already"):
        first.start()
    assert threading.current_thread() is threading.main_thread()


def test_after_a_failover_the_old_primary_follows_the_new_one(
    first: Postgres, second: Postgres
) -> None:
    add(first, 7)
    second.wait_for_replay(first)
    first.kill()
    second.promote()
    add(second, 8)
    assert second.is_primary()

    # It comes back as if nothing had happened, and takes what nobody else will ever see.
    first.start()
    assert first.is_primary()
    add(first, 9)

    first.follow(second)
    assert not first.is_primary()
    assert has(first, 8)
    assert not has(first, 9)
    add(second, 10)
    first.wait_for_replay(second)
    assert has(first, 10)


def shared_memory() -> set[str]:
    """What the account of the servers has of it, of both kinds."""
    segments = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {line.split()[1] for line in segments} | {
        path.name
        for path in Path("/dev/shm").glob("PostgreSQL.*")  # noqa: S108 - only looked at
    }


def test_nothing_of_it_is_left_behind() -> None:
    before = shared_memory()
    with left_out_if_missing(), primary() as server:
        assert server.pid is not None
        everybody, directory = family(server.pid), server.directory
        server.sql("SELECT 1", database=SUPERUSER)
        during = shared_memory() - before
        server.kill()
        server.start()
        server.pause()
    assert all(family(pid) == [pid] for pid in everybody)
    assert not directory.exists()
    assert during
    assert not during & shared_memory()
