"""People log in to the dockerised Synapse, and are told the truth when they can't."""

import asyncio
import json
import time

import nio  # type: ignore[import-untyped]  # it has no annotations
import pytest

from tests.docker.conftest import ALICE, BOB
from tests.docker.stack import SERVER_NAME, Stack, docker
from tools.web import Answer


def _said(answer: Answer) -> tuple[int, str]:
    body = json.loads(answer.body)
    return answer.status, body.get("errcode", body.get("user_id"))


IN = (200, f"@alice:{SERVER_NAME}")
WRONG = (403, "M_FORBIDDEN")
AWAY = (503, "M_UNKNOWN")


def _logs_in_within(stack: Stack, seconds: float) -> None:
    """Wait until a login works. Until then, nobody is told that the password was wrong."""
    end = time.monotonic() + seconds
    while (said := _said(stack.login("alice", ALICE))) != IN:
        assert said == AWAY
        assert time.monotonic() < end, f"no login within {seconds} s"


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
    ("user", "password", "said"),
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
def test_by_plain_http(stack: Stack, user: str, password: str, said: tuple[int, str]) -> None:
    assert _said(stack.login(user, password)) == said


def test_a_disabled_account_is_told_so_and_enabled_again(stack: Stack) -> None:
    assert stack.login("bob", BOB).status == 200
    stack.lalepass("user", "disable", "bob")
    try:
        assert _said(stack.login("bob", BOB)) == (403, "M_USER_DEACTIVATED")
        assert _said(stack.login("bob", "not it")) == WRONG
    finally:
        stack.lalepass("user", "enable", "bob")
    assert stack.login("bob", BOB).status == 200


def test_the_service_is_stopped_and_started(stack: Stack) -> None:
    stack.compose("stop", "lalepass")
    try:
        assert _said(stack.login("alice", ALICE)) == AWAY
        assert _said(stack.login("alice", "not it")) == AWAY
    finally:
        stack.compose("start", "lalepass")
    _logs_in_within(stack, 60)


def test_the_service_is_restarted(stack: Stack) -> None:
    stack.compose("restart", "lalepass")

    _logs_in_within(stack, 60)


def test_the_service_is_killed_and_comes_back_by_itself(stack: Stack) -> None:
    before = stack.inspect("lalepass")["RestartCount"]
    # From inside, as a fault of the program would: who kills a container from outside has its
    # restart policy take that for a wish.
    docker("exec", "--user", "8220", stack.container("lalepass"), "python", "-c", _KILL_ALL)

    _logs_in_within(stack, 60)
    assert stack.inspect("lalepass")["RestartCount"] == before + 1


_KILL_ALL = (
    "import os, signal;"
    "[os.kill(int(p), signal.SIGKILL) for p in os.listdir('/proc')"
    " if p.isdigit() and int(p) != os.getpid()]"
)


def test_the_service_is_cut_off(stack: Stack) -> None:
    network, container = stack.network("authentication"), stack.container("lalepass")
    docker("network", "disconnect", network, container)
    try:
        begun = time.monotonic()
        assert _said(stack.login("alice", ALICE, timeout=30)) == AWAY
        # Its deadline is five seconds; the rest is a fence for a busy machine.
        assert time.monotonic() - begun < 20
    finally:
        docker("network", "connect", "--alias", "lalepass", network, container)
    _logs_in_within(stack, 60)


def test_the_homeserver_is_restarted_and_sessions_go_on(stack: Stack) -> None:
    token = json.loads(stack.login("alice", ALICE).body)["access_token"]
    stack.compose("restart", "synapse")
    stack.compose("up", "--detach", "--wait")

    assert _whoami(stack, token) == 200
    assert _said(stack.login("alice", ALICE)) == IN


def _whoami(stack: Stack, token: str) -> int:
    return stack.call("GET", "/_matrix/client/v3/account/whoami", token=token).status


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

    assert _said(stack.login("alice", ALICE)) == IN
    assert _whoami(stack, token) == 200
