"""What all servers have in common: what is left behind, and what is missing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.family import family
from tests.servers.fixtures import left_out_if_missing
from tests.servers.leftovers import folder_prefix, tidy
from tests.servers.psql import installed
from tests.servers.server import Missing, folder, program
from tests.servers.valkey import valkey
from tools.processes import LOOPBACK, NotHealthyInTime, ProcessDied, port_is_free

_FENCE = 60.0
_BREAKS_OFF = """
import os, sys
from tests.servers.family import family
from tests.servers.pair import primary

with primary() as server:
    server.pause()
    segment = (server.data / "postmaster.pid").read_text().splitlines()[6].split()[1]
    print(server.directory, segment, *family(server.pid), flush=True)
    sys.stdin.read()
"""


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _FENCE
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)  # noqa: TID251 - with a deadline


def runs(pid: int) -> bool:
    """A zombie does not count: it waits for an init that a container may not have."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_that_is_paused_ends_with_a_test_run_that_is_killed() -> None:
    with left_out_if_missing():
        installed("initdb")
    run = subprocess.Popen(
        [sys.executable, "-c", _BREAKS_OFF],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with run:
        assert run.stdout is not None
        directory, segment, *pids = run.stdout.readline().split()
        everybody = [int(pid) for pid in pids]
        assert len(everybody) > 3
        assert all(runs(pid) for pid in everybody)
        assert segment in segments()
        run.send_signal(signal.SIGKILL)
    until(lambda: not any(runs(pid) for pid in everybody))

    # What it could not tidy up, the next one does.
    tidy(Path(directory).parent)
    assert not Path(directory).exists()
    assert segment not in segments()


def segments() -> set[str]:
    """The shared memory of the system, by number."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_what_has_an_owner_stays(tmp_path: Path) -> None:
    (tmp_path / f"{folder_prefix('x', owner=os.getpid())}abc").mkdir()
    (tmp_path / "lalepass-x-name-abc").mkdir()
    tidy(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_is_gone_afterwards() -> None:
    with folder("gone") as on_disk, folder("gone", on_disk=False) as anywhere:
        (on_disk / "file").touch()
        (anywhere / "file").touch()
    assert not on_disk.exists()
    assert not anywhere.exists()


def test_a_family_is_a_process_with_all_that_it_started() -> None:
    parent = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60 & wait"])  # noqa: S607
    with parent:
        until(lambda: len(family(parent.pid)) == 3)
        assert family(parent.pid)[0] == parent.pid
        assert parent.pid in family(os.getpid())
        for pid in reversed(family(parent.pid)):
            os.kill(pid, signal.SIGKILL)


def test_what_is_missing_is_left_out_with_the_reason() -> None:
    with pytest.raises(Missing, match=r"no-such-server or another is not installed"):
        program("no-such-server", "another")
    reason = "no-such-server is not installed"
    with pytest.raises(pytest.skip.Exception, match=reason), left_out_if_missing():
        program("no-such-server")


def test_one_that_does_not_start_says_why_and_leaves_nothing() -> None:
    with left_out_if_missing(), valkey() as server:
        server.kill()
        server.port = 1 << 20
        with pytest.raises(ProcessDied) as died:
            server.start()
        assert str(1 << 20) in died.value.log_tail
        assert not server.alive


def test_one_that_is_not_ready_in_time_is_ended() -> None:
    with left_out_if_missing(), valkey() as server:
        server.pause()
        with pytest.raises(NotHealthyInTime, match="is not ready after 0 s"):
            server.wait_until_ready(seconds=0.1)
        pid = server.pid
        assert pid is not None
    assert not runs(pid)
    assert port_is_free(server.port, LOOPBACK)
