"""Replicas as processes, and those who ask them."""

from collections.abc import Iterator

import pytest

from lalepass_wire.feed import AccountState
from tests.servers.asking import NoAnswer
from tests.servers.services import Services, services
from tools.service import CommandRefused

OLD, NEW = "correct horse battery", "staple of the battery"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with services(
        tmp_path_factory.mktemp("services"),
        count=2,
        settings={"log": {"level": "debug"}, "passwords": {"words": ["lalepass", "zoo"]}},
        people={"alice": OLD, "bob": OLD},
    ) as made:
        yield made


def test_each_replica_answers_for_all(two: Services) -> None:
    for replica in two.replicas:
        with two.caller(replica.url) as caller:
            assert caller.is_ready()
            assert caller.check("alice", OLD)
            assert not caller.check("alice", "a wrong one")
        assert "/health/ready" in replica.log.read_text()  # at debug, as the settings say
    assert two.failures("alice") > 0
    assert two.unlock("alice")
    assert two.failures("alice") == 0


def test_what_an_operator_does_is_seen_by_each(two: Services) -> None:
    with two.caller() as one, two.caller(two.replicas[1].url) as other:
        cursor = one.locked().cursor
        two.set_password("bob", NEW)
        assert other.check("bob", NEW)
        assert not one.check("bob", OLD)
        two.disable("bob")
        assert not other.check("bob", NEW)
        found, end = other.accounts(cursor)
        assert found["bob"].state is AccountState.DISABLED
        two.enable("bob")
        assert one.accounts(end)[0]["bob"].state is AccountState.ACTIVE
        assert one.check("bob", NEW)


def test_one_that_is_paused_does_not_answer(two: Services) -> None:
    replica = two.replicas[0]
    with two.caller(timeout=0.3) as caller:
        replica.pause()
        with pytest.raises(NoAnswer):
            caller.check("alice", OLD)
        assert not caller.is_ready()
        replica.resume()
    with two.caller() as caller:
        assert caller.check("alice", OLD)


def test_an_answer_that_is_neither_yes_nor_no_is_none(two: Services) -> None:
    with two.caller() as caller, pytest.raises(NoAnswer) as none:
        caller.changes("no cursor")
    assert none.value.status == 400


def test_one_is_killed_and_another_ended_in_good_order(two: Services) -> None:
    first, second = two.replicas
    first.kill()
    with two.caller(first.url) as caller, pytest.raises(NoAnswer) as none:
        caller.check("alice", OLD)
    assert none.value.status is None
    with two.caller(second.url) as caller:
        assert caller.check("alice", OLD)
    first.start()
    assert second.stop() == 0
    with two.caller() as caller:
        assert caller.check("alice", OLD)


def test_wrong_settings_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        pytest.raises(CommandRefused, match=r"log\.level"),
        services(
            tmp_path_factory.mktemp("refused"),
            count=1,
            settings={"log": {"level": "loud"}},
            people={},
        ),
    ):
        pass
