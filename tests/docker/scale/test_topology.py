"""deploy/scale/check.sh: green on the whole stack, red and with the name of what is stopped."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lalepass_service.topology.plan import load
from tests.docker.stack import ROOT, Stack, docker

SCALE = ROOT / "deploy" / "scale"
PARTS = [
    name
    for name in load(SCALE / "topology.toml").parts
    if not name.endswith(("-replication", "-metrics"))
]


def look(stack: Stack, *parts: str) -> tuple[int, str]:
    """Return the exit code, and what is said."""
    done = subprocess.run(
        [SCALE / "check.sh", *parts],
        env=os.environ | {"COMPOSE_PROJECT_NAME": stack.project},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def is_well(said: str) -> bool:
    """Say whether nothing is wrong, but for what Prometheus still remembers of other tests."""
    told = [line for line in said.splitlines() if line.startswith(("WARN", "FAIL"))]
    return all(line.startswith("WARN  prometheus: says ") for line in told)


@contextmanager
def stopped(stack: Stack, service: str) -> Iterator[None]:
    """Stop a part, and have it back and well afterwards."""
    stack.compose("stop", "--timeout", "10", service)
    try:
        yield
    finally:
        stack.up()


def test_every_part_is_what_it_should_be(scale: Stack) -> None:
    # Parts that other tests have stopped come back one after the other.
    end = time.monotonic() + 240
    code, said = look(scale)
    while not is_well(said) and time.monotonic() < end:
        time.sleep(5)  # noqa: TID251 - the fact is in another container
        code, said = look(scale)

    assert is_well(said), said
    assert code == int("WARN" in said)
    looked = re.findall(r"^(?:ok    )?from (\S+):", said, re.MULTILINE)
    assert looked == PARTS


def test_who_is_stopped_is_named_by_those_who_need_it(scale: Stack) -> None:
    with stopped(scale, "counters"):
        code, said = look(scale, "lalepass-1", "synapse-main", "counters")

    assert code == 2
    assert "from lalepass-1:\nFAIL  counters: " in said
    assert "ok    from synapse-main: 0 wrong" in said
    assert "FAIL  counters: no container of it runs" in said


def test_a_process_that_is_stopped_is_named_by_the_proxy(scale: Stack) -> None:
    with stopped(scale, "synapse-generic-2"):
        code, said = look(scale, "proxy")
        # Who is led to that one while the proxy notices is cut off: docs/scaling.md. From then on
        # people notice nothing: the other one answers.
        end = time.monotonic() + 60
        while "ok    from clients: 0 wrong" not in (of_clients := look(scale, "clients")[1]):
            assert time.monotonic() < end, of_clients
            time.sleep(1)  # noqa: TID251 - the fact is in another container

    assert code == 2
    assert "FAIL  synapse-generic-2: " in said


def test_a_network_too_many_is_seen(scale: Stack) -> None:
    counters = scale.container("counters")
    network = scale.network("database")
    docker("network", "connect", network, counters)
    try:
        code, said = look(scale, "postgres-1", "counters")
    finally:
        docker("network", "disconnect", network, counters)

    assert code == 2
    assert "FAIL  counters: can be reached at " in said
    assert "FAIL  postgres-1: can be reached at " in said
    assert look(scale, "postgres-1")[0] == 0
