"""Two replicas of Lalepass are one service, on whichever PostgreSQL is the primary."""

import itertools
import json

import pytest

from tests.docker.people import ALICE, BOB, until
from tests.docker.scale.asking import REPLICAS, ask, check, metric, sql
from tests.docker.stack import CommandFailed, Stack


def test_each_replica_checks_passwords(scale: Stack) -> None:
    assert check(scale, "alice", ALICE, "not it") == ["accepted", "credentials"] * 2
    assert check(scale, "nobody", ALICE) == ["credentials"] * 2


@pytest.mark.parametrize("replica", REPLICAS)
def test_nobody_is_listened_to_without_a_certificate_or_answered_without_a_token(
    scale: Stack, replica: str
) -> None:
    with pytest.raises(CommandFailed):
        ask(scale, replica, "/health/live", certificate=False)
    status, said = ask(scale, replica, "/v1/locked", token=False)
    assert (status, json.loads(said)["code"]) == (401, "caller_unknown")


def test_what_one_replica_is_told_the_other_one_knows(scale: Stack) -> None:
    scale.compose("exec", "-T", "lalepass-2", "lalepass", "user", "disable", "bob")
    try:
        assert check(scale, "bob", BOB) == ["disabled"] * 2
    finally:
        scale.lalepass("user", "enable", "bob")
    assert check(scale, "bob", BOB) == ["accepted"] * 2


def test_wrong_passwords_are_counted_together(scale: Stack) -> None:
    scale.add("guessed", "a-fine-password-1")
    guesses = itertools.count()

    def wait(replica: str) -> float:
        """Guess once more; return how long the next guess has to wait, if this one has to."""
        who = {"kind": "user", "localpart": "guessed"}
        body = {"identifier": who, "password": f"wrong {next(guesses)}"}
        status, said = ask(scale, replica, "/v1/credentials/check", body)
        return float(json.loads(said)["retry_after_seconds"]) if status == 429 else 0

    # Wrong passwords cost more and more, so long that the other replica is asked meanwhile.
    until(lambda: wait("lalepass-1") > 8, seconds=90)
    assert wait("lalepass-2") > 0

    assert {metric(scale, replica, "lalepass_valkey_up") for replica in REPLICAS} == {1}
    scale.lalepass("user", "delete", "guessed", "--yes")


def test_checks_are_read_from_the_standby(scale: Stack) -> None:
    def read() -> float:
        return sum(metric(scale, name, "lalepass_replica_reads_total") for name in REPLICAS)

    before = read()

    def more() -> bool:
        assert check(scale, "alice", ALICE) == ["accepted"] * 2
        return read() > before

    until(more, seconds=60)


def test_doing_the_preparations_again_changes_nothing(scale: Stack) -> None:
    def shell(line: str) -> str:
        # It has all of them.
        return scale.compose("exec", "-T", "scale-renew", "sh", "-eu", "-c", line)

    look = "sha256sum /secrets/*/* | sort"
    before = shell(look)
    # What a run leaves that was killed while it wrote.
    shell("echo half > /secrets/counters/.users.acl.new; rm /secrets/counters/users.acl")

    said = scale.compose("run", "--rm", "-T", "scale-prepare")
    said += scale.compose("run", "--rm", "-T", "scale-accounts")

    assert "made" not in said
    assert shell(look) == before
    assert check(scale, "alice", ALICE) == ["accepted"] * 2


def test_a_secret_of_the_database_is_kept_as_what_nobody_can_log_in_with(scale: Stack) -> None:
    kept = sql(
        scale,
        "postgres-1",
        "SELECT rolname || ' ' || left(rolpassword, 14) FROM pg_authid WHERE rolpassword <> ''",
    )

    names = ("lalepass", "lookout", "media", "standby", "synapse")
    assert sorted(kept.splitlines()) == [f"{name} SCRAM-SHA-256$" for name in names]
