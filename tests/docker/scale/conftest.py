"""The profile `scale`, one stack for all tests of this folder."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.docker.people import ALICE, BOB
from tests.docker.stack import Stack
from tools.processes import free_port

PROJECT = "lalepass-scale"


@pytest.fixture(scope="package")
def scale() -> Iterator[Stack]:
    """The stack, up and healthy, with alice and bob; gone with its volumes at the end."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker engine answers: tests/docker/engine.sh starts one")
    stack = Stack(
        port=free_port(),
        project=PROJECT,
        profile="scale",
        changes="tests/docker/scale/compose.yml",
        operator="lalepass-1",
        environment={"METRICS_PORT": str(free_port())},
    )
    stack.compose("down", "--volumes", "--timeout", "5")
    try:
        stack.compose("build", timeout=600)
        stack.up()
        stack.add("alice", ALICE)
        stack.add("bob", BOB)
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5")
