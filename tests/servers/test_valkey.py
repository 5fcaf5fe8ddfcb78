"""A Valkey does what tests of failures rely on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.fixtures import left_out_if_missing
from tests.servers.valkey import Refused, Valkey, valkey


@pytest.fixture(scope="module")
def keeping() -> Iterator[Valkey]:
    with left_out_if_missing(), valkey(keeps=True) as server:
        yield server


def test_tests_do_not_see_what_others_keep(valkey_server: Valkey) -> None:
    one, other = (valkey_server.new_url().rpartition("/")[2] for _ in range(2))
    assert valkey_server.ask("SET", "key", "value", database=int(one)) == "OK"
    assert valkey_server.ask("GET", "key", database=int(one)) == "value"
    assert valkey_server.ask("GET", "key", database=int(other)) is None
    assert valkey_server.ask("LPUSH", "list", "a", "b", database=int(one)) == 2
    assert valkey_server.ask("LRANGE", "list", "0", "-1", database=int(one)) == ["b", "a"]
    with pytest.raises(Refused, match="WRONGTYPE"):
        valkey_server.ask("GET", "list", database=int(one))


def test_one_with_a_password_answers_nobody_without_it(tmp_path: Path) -> None:
    with left_out_if_missing(), Valkey(directory=tmp_path, password="sesame") as server:
        assert server.ask("PING") == "PONG"
        server.password = ""
        with pytest.raises(Refused, match="NOAUTH"):
            server.ask("PING")
        server.password = "another"
        with pytest.raises(Refused, match="WRONGPASS"):
            server.ask("PING")


def test_a_fixture_names_an_empty_one(valkey_server: Valkey, valkey_url: str) -> None:
    place, _, database = valkey_url.rpartition("/")
    assert place == valkey_server.url
    assert valkey_server.ask("DBSIZE", database=int(database)) == 0


def test_one_that_is_killed_has_what_it_acknowledged(keeping: Valkey) -> None:
    keeping.ask("SET", "key", "value")
    keeping.kill()
    with pytest.raises(ConnectionRefusedError):
        keeping.ask("PING")

    keeping.start()
    assert keeping.ask("GET", "key") == "value"


def test_one_can_come_back_with_nothing(keeping: Valkey) -> None:
    keeping.ask("SET", "key", "value")
    with pytest.raises(RuntimeError, match="runs"):
        keeping.forget()
    keeping.kill()
    keeping.forget()
    keeping.start()
    assert keeping.ask("DBSIZE") == 0


def test_one_that_stalls_answers_nobody_and_goes_on(keeping: Valkey) -> None:
    keeping.pause()
    with pytest.raises(TimeoutError):
        keeping.ask("PING", seconds=0.3)
    keeping.resume()
    assert keeping.ask("PING") == "PONG"


def test_the_one_that_may_be_broken_is_well_and_empty_for_the_next(
    breakable_valkey: Valkey,
) -> None:
    breakable_valkey.ask("SET", "key", "value")
    breakable_valkey.pause()


def test_it_is(breakable_valkey: Valkey) -> None:
    assert breakable_valkey.ask("DBSIZE") == 0
    breakable_valkey.kill()
