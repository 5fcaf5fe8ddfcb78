"""Whatever a test does to the pair, the next one finds it whole."""

from collections.abc import Callable

import pytest

from tests.servers.pair import Pair
from tests.servers.postgres import Database


def both_killed(pair: Pair) -> None:
    pair.primary.kill()
    pair.standby.kill()


def both_paused(pair: Pair) -> None:
    pair.primary.pause()
    pair.standby.pause()


def far_behind(pair: Pair) -> None:
    pair.standby.delay_replay(3600)
    pair.standby.pause_replay()


def waited_for(pair: Pair) -> None:
    pair.primary.require_standby(pair.standby)
    pair.standby.kill()


def promoted_in_silence(pair: Pair) -> None:
    pair.standby.promote()


@pytest.mark.parametrize(
    "breaking",
    [
        both_killed,
        both_paused,
        far_behind,
        waited_for,
        promoted_in_silence,
        Pair.fail_over,
        Pair.promote_away,
    ],
)
def test_it_is_whole_again(
    postgres_pair: Pair, pair_database: Database, breaking: Callable[[Pair], None]
) -> None:
    breaking(postgres_pair)
    postgres_pair.heal()

    assert postgres_pair.primary.is_primary()
    assert not postgres_pair.standby.is_primary()
    postgres_pair.primary.sql("CREATE TABLE it_goes_on ()", database=pair_database.name)
    postgres_pair.standby.wait_for_replay(postgres_pair.primary)
    postgres_pair.standby.sql("SELECT FROM it_goes_on", database=pair_database.name)


def test_its_url_names_both_wherever_the_primary_is(postgres_pair: Pair) -> None:
    before = postgres_pair.url("x")
    postgres_pair.fail_over()
    assert postgres_pair.url("x") == before
    ports = ",".join(f"127.0.0.1:{server.port}" for server in postgres_pair.both)
    assert before == f"postgresql://lalepass@{ports}/x?target_session_attrs=read-write"
    assert postgres_pair.settings("x")["database"] == {
        "url": before,
        "password_path": str(postgres_pair.standby.password_path),
    }
