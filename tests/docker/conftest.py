"""One stack for the whole run. `make test-docker` has made the engine and the base images ready."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.docker.people import ALICE, BOB
from tests.docker.stack import Stack
from tools.processes import free_port


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/docker/" in item.nodeid:
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack, up and healthy, with alice and bob; gone with its volumes at the end."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker engine answers: tests/docker/engine.sh starts one")
    stack = Stack(port=free_port())
    stack.compose("down", "--volumes", "--timeout", "5")
    try:
        stack.compose("build", timeout=600)
        stack.up()
        stack.add("alice", ALICE, "--email", "alice@x.org")
        stack.add("bob", BOB)
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5")


@pytest.fixture
def one_token(stack: Stack) -> str:
    """The id of the homeserver's token, the only one that is good."""
    used = stack.token_in_use()
    for token in stack.live_tokens() - {used}:
        stack.lalepass("token", "revoke", token)
    return used
