"""The primary is lost, its standby takes its place, and there are never two of them.

The tests run in their order, and each begins and ends with a primary and a standby that streams.
"""

import itertools
import os
import signal
from collections.abc import Iterator

import pytest

from tests.docker.people import until
from tests.docker.scale.asking import (
    check,
    health,
    log,
    role,
    sql,
    streams,
    until_it_says,
)
from tests.docker.stack import CommandFailed, Stack, docker

SERVERS = ("postgres-1", "postgres-2")
_PASSWORDS = (f"{number}-of-dora" for number in itertools.count(1))


@pytest.fixture
def pair(scale: Stack) -> Iterator[tuple[str, str]]:
    """Who is the primary at the moment, and who its standby."""
    roles = {role(scale, name): name for name in SERVERS}
    assert roles.keys() == {"primary", "standby"}
    until(lambda: streams(scale, roles["primary"]), seconds=60)
    yield roles["primary"], roles["standby"]
    assert {role(scale, name) for name in SERVERS} == {"primary", "standby"}


def _on(scale: Stack, server: str, *command: str) -> str:
    """Run one of the commands that are for operators; return all that it said."""
    return docker("exec", scale.container(server), *command, errors=True)


@pytest.fixture(scope="module", autouse=True)
def dora(scale: Stack) -> Iterator[None]:
    scale.add("dora", "none-of-these")
    yield
    scale.lalepass("user", "delete", "dora", "--yes")


def _new_password(scale: Stack) -> str:
    """Give dora another password."""
    password = next(_PASSWORDS)
    scale.lalepass("user", "set-password", "dora", "--password-stdin", stdin=password)
    return password


def _are_accepted(scale: Stack, password: str, *, old: str) -> None:
    """Both take the new one, as soon as they have found the primary, and not the old one."""
    until(lambda: check(scale, "dora", password) == ["accepted"] * 2, seconds=60)
    assert check(scale, "dora", old) == ["credentials"] * 2


def _caught_up(scale: Stack, primary: str) -> bool:
    behind = "SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication"
    return sql(scale, primary, behind) == "t"


def test_the_standby_streams_by_its_own_slot(scale: Stack, pair: tuple[str, str]) -> None:
    primary, standby = pair
    slot = standby.replace("-", "_")

    assert sql(scale, primary, "SELECT slot_name, active FROM pg_replication_slots") == f"{slot}|t"
    assert sql(scale, primary, "SELECT usename FROM pg_stat_replication") == "standby"
    secret = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)"
    assert sql(scale, primary, secret) == "t"


def test_a_standby_is_not_promoted_while_the_other_one_takes_writes(
    scale: Stack, pair: tuple[str, str]
) -> None:
    primary, standby = pair

    with pytest.raises(CommandFailed, match=f"not promoted: {primary} takes writes"):
        _on(scale, standby, "promote")

    assert "is the primary already" in _on(scale, primary, "promote")
    with pytest.raises(CommandFailed, match=f"{standby} is no primary"):
        _on(scale, primary, "rebuild")
    with pytest.raises(CommandFailed, match=f"not alone: {standby} runs"):
        _on(scale, primary, "go-alone")
    assert role(scale, standby) == "standby"


def _kill(scale: Stack, server: str) -> None:
    """End it as the kernel would, so that the engine starts it again; after `kill`, it does not."""
    os.kill(scale.inspect(server)["State"]["Pid"], signal.SIGKILL)


def test_the_primary_is_lost_and_the_standby_promoted(scale: Stack, pair: tuple[str, str]) -> None:
    primary, standby = pair
    old, password = _new_password(scale), _new_password(scale)
    until(lambda: _caught_up(scale, primary), seconds=30)
    scale.compose("kill", primary)

    assert "is the primary now" in _on(scale, standby, "promote")

    _are_accepted(scale, password, old=old)
    newer = _new_password(scale)
    _are_accepted(scale, newer, old=password)

    # The machine of the old one is back. It starts by itself, and is no second primary.
    scale.compose("start", primary)
    refused = f"{standby} has become the primary"
    until_it_says(scale, primary, refused, seconds=60)
    assert role(scale, primary) == "away"
    assert health(scale, primary) != "healthy"
    # Nor is it where both begin at the same time, and neither can be asked yet.
    seen = log(scale, primary).count(refused)
    for server in (standby, primary):
        _kill(scale, server)
    until_it_says(scale, primary, refused, seconds=60, seen=seen)
    assert (role(scale, primary), role(scale, standby)) == ("away", "primary")

    assert f"is a standby of {standby} now" in _on(scale, primary, "rebuild")
    _are_accepted(scale, newer, old=password)


def test_both_are_started_at_once_and_are_who_they_were(
    scale: Stack, pair: tuple[str, str]
) -> None:
    for server in pair:
        _kill(scale, server)

    until(
        lambda: tuple(role(scale, server) for server in pair) == ("primary", "standby"), seconds=60
    )
    until(lambda: streams(scale, pair[0]), seconds=60)


def test_a_primary_that_was_cut_off_ends_when_it_sees_its_successor(
    scale: Stack, pair: tuple[str, str]
) -> None:
    primary, standby = pair
    container = scale.container(primary)
    networks = [scale.network(name) for name in ("database", "accounts", "standby", "files")]
    password = _new_password(scale)
    until(lambda: _caught_up(scale, primary), seconds=30)
    for network in networks:
        docker("network", "disconnect", network, container)
    try:
        assert f"{primary} does not answer" in _on(scale, standby, "promote")
        assert role(scale, primary) == "primary"
        newer = next(_PASSWORDS)
        until(lambda: _takes(scale, newer), seconds=60)
    finally:
        for network in networks:
            docker("network", "connect", "--alias", primary, network, container)

    until_it_says(scale, primary, f"{standby} has become the primary: this one ends", seconds=90)
    until(lambda: role(scale, primary) == "away", seconds=60)
    _are_accepted(scale, newer, old=password)
    _on(scale, primary, "rebuild")


def _takes(scale: Stack, password: str) -> bool:
    try:
        scale.lalepass("user", "set-password", "dora", "--password-stdin", stdin=password)
    except CommandFailed:
        return False
    return True


def test_without_its_standby_a_primary_waits_for_somebody_who_knows(
    scale: Stack, pair: tuple[str, str]
) -> None:
    primary, standby = pair
    scale.compose("kill", standby)
    waits = f"waiting for {standby}"
    seen = log(scale, primary).count(waits)
    _kill(scale, primary)
    until_it_says(scale, primary, waits, seconds=60, seen=seen)
    assert role(scale, primary) == "away"

    assert f"has started without {standby}" in _on(scale, primary, "go-alone")

    assert sql(scale, primary, "SELECT count(*) FROM pg_replication_slots") == "0"
    # From now on without being asked.
    _kill(scale, primary)
    until(lambda: role(scale, primary) == "primary", seconds=60)
    scale.compose("start", standby)
    until(lambda: role(scale, standby) == "standby", seconds=60)
    assert f"is a standby of {primary} now" in _on(scale, standby, "rebuild")


def test_a_copy_that_was_interrupted_begins_anew(scale: Stack, pair: tuple[str, str]) -> None:
    primary, standby = pair
    # As a machine leaves it that went down in the middle.
    scale.compose("exec", "-T", standby, "sh", "-c", "touch $PGDATA/.unfinished $PGDATA/half")
    _kill(scale, standby)

    until(lambda: streams(scale, primary), seconds=60)

    with pytest.raises(CommandFailed):
        scale.compose("exec", "-T", standby, "sh", "-c", "ls $PGDATA/half")


def test_a_certificate_is_replaced_and_both_show_the_new_one(
    scale: Stack, pair: tuple[str, str]
) -> None:
    def used(server: str) -> str:
        return scale.compose("exec", "-T", server, "cksum", "/var/run/postgresql/server.crt")

    before = {server: used(server) for server in pair}
    scale.compose("run", "--rm", "-T", "scale-prepare", "certificates")

    until(lambda: all(used(server) != before[server] for server in pair), seconds=60)
    assert all("received SIGHUP" in log(scale, server) for server in pair)
    until(lambda: health(scale, "counters") == "healthy", seconds=60)
    _are_accepted(scale, _new_password(scale), old="never was")
