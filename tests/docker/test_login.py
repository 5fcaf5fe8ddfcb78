"""People log in to the dockerised Synapse, and are told the truth when they can't."""

import asyncio
import json
import os
import signal
import time

import nio  # type: ignore[import-untyped]  # it has no annotations
import pytest

from tests.docker.people import ALICE, AWAY, BOB, IN, WRONG, logs_in_within, said, whoami
from tests.docker.stack import SERVER_NAME, Stack, docker


def test_with_a_matrix_client(stack: Stack) -> None:
    async def log_in() -> object:
        client = nio.AsyncClient(f"http://127.0.0.1:{stack.port}", "alice")
        try:
            return await client.login(ALICE, device_name="docker")
        finally:
            await client.close()

    answer = asyncio.run(log_in())

    assert isinstance(answer, nio.LoginResponse), answer
    assert answer.user_id == f"@alice:{SERVER_NAME}"


@pytest.mark.parametrize(
    ("user", "password", "told"),
    [
        ("alice", ALICE, IN),
        (f"@alice:{SERVER_NAME}", ALICE, IN),
        ("ALICE", ALICE, IN),
        ("alice", "not it", WRONG),
        ("alice", "", WRONG),
        ("nobody", ALICE, WRONG),
        ("@alice:elsewhere.test", ALICE, WRONG),
    ],
)
def test_by_plain_http(stack: Stack, user: str, password: str, told: tuple[int, str]) -> None:
    assert said(stack.login(user, password)) == told


def test_a_disabled_account_is_told_so_and_enabled_again(stack: Stack) -> None:
    assert stack.login("bob", BOB).status == 200
    stack.lalepass("user", "disable", "bob")
    try:
        assert said(stack.login("bob", BOB)) == (403, "M_USER_DEACTIVATED")
        assert said(stack.login("bob", "not it")) == WRONG
    finally:
        stack.lalepass("user", "enable", "bob")
    assert stack.login("bob", BOB).status == 200


def test_the_service_is_stopped_and_started(stack: Stack) -> None:
    stack.compose("stop", "lalepass")
    try:
        assert said(stack.login("alice", ALICE)) == AWAY
        assert said(stack.login("alice", "not it")) == AWAY
        # It has ended by itself, and was not killed when its time was over.
        assert stack.inspect("lalepass")["State"]["ExitCode"] == 0
    finally:
        stack.compose("start", "lalepass")
    logs_in_within(stack, 60)


def test_the_service_is_restarted(stack: Stack) -> None:
    stack.compose("restart", "lalepass")

    logs_in_within(stack, 60)


def test_the_service_is_killed_and_comes_back_by_itself(stack: Stack) -> None:
    before = stack.inspect("lalepass")
    # By the host, as when memory runs out: after `docker kill`, the engine restarts nothing.
    os.kill(before["State"]["Pid"], signal.SIGKILL)

    logs_in_within(stack, 60)
    assert stack.inspect("lalepass")["RestartCount"] == before["RestartCount"] + 1


def test_the_service_is_cut_off(stack: Stack) -> None:
    network, container = stack.network("authentication"), stack.container("lalepass")
    docker("network", "disconnect", network, container)
    try:
        begun = time.monotonic()
        assert said(stack.login("alice", ALICE, timeout=30)) == AWAY
        # Its deadline is five seconds; the rest is a fence for a busy machine.
        assert time.monotonic() - begun < 20
    finally:
        docker("network", "connect", "--alias", "lalepass", network, container)
    logs_in_within(stack, 60)


def test_the_homeserver_is_restarted_and_sessions_go_on(stack: Stack) -> None:
    token = json.loads(stack.login("alice", ALICE).body)["access_token"]
    stack.compose("restart", "synapse")
    stack.compose("up", "--detach", "--wait")

    assert whoami(stack, token) == 200
    assert said(stack.login("alice", ALICE)) == IN


def test_the_homeservers_database_is_stopped_and_started(stack: Stack) -> None:
    stack.compose("stop", "postgres")
    try:
        status = stack.login("alice", ALICE, timeout=60).status
        assert status >= 500
    finally:
        stack.compose("start", "postgres")
    end = time.monotonic() + 90
    while stack.login("alice", ALICE, timeout=60).status != 200:
        assert time.monotonic() < end, "no login 90 s after the database came back"


def test_volumes_are_kept_over_down_and_up(stack: Stack) -> None:
    token = json.loads(stack.login("alice", ALICE).body)["access_token"]
    stack.compose("down")
    stack.up()

    assert said(stack.login("alice", ALICE)) == IN
    assert whoami(stack, token) == 200
