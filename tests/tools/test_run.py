"""tools.run: the demo refuses what can't work, and leaves nothing running."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import run
from tools.locks import ROOT
from tools.processes import LOOPBACK, free_port, port_is_free
from tools.run import Demo, Fault


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(state=tmp_path / "demo", service_port=free_port(), synapse_port=free_port())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server


def options(demo: Demo) -> list[str]:
    return [
        *("--state", str(demo.state)),
        *("--service-port", str(demo.service_port)),
        *("--synapse-port", str(demo.synapse_port)),
    ]


def command(demo: Demo) -> list[str]:
    return [sys.executable, "-m", "tools.run", *options(demo)]


def test_a_port_in_use_is_told_with_the_option_that_changes_it(
    demo: Demo, listener: socket.socket
) -> None:
    taken = Demo(
        state=demo.state,
        service_port=demo.service_port,
        synapse_port=listener.getsockname()[1],
    )
    done = subprocess.run(
        command(taken), cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"Port {taken.synapse_port} is in use" in done.stderr
    assert "--synapse-port" in done.stderr
    # Nothing was begun, so the next try finds nothing half-made.
    assert not demo.state.exists()


def test_the_service_and_synapse_need_a_port_each(demo: Demo) -> None:
    same = Demo(state=demo.state, service_port=demo.service_port, synapse_port=demo.service_port)
    with pytest.raises(Fault, match="need one each"):
        run.require_ports(same)


def test_a_half_made_state_is_told_with_the_way_out(demo: Demo) -> None:
    demo.state.mkdir()
    (demo.state / "synapse-token").touch()
    with pytest.raises(Fault, match=r"half-made.*make run ARGS=--fresh"):
        run.prepare(demo, fresh=False)
    assert run.prepare(demo, fresh=True) is False
    assert not any(demo.state.iterdir())


def test_a_complete_state_is_used_again(demo: Demo) -> None:
    demo.state.mkdir()
    demo.complete.touch()
    assert run.prepare(demo, fresh=False) is True


def test_a_second_demo_on_the_same_state_is_refused(demo: Demo) -> None:
    with demo.lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Fault, match="runs already"):
            run.run(demo, once=True, fresh=False)


def test_the_password_can_be_read_out_and_differs_each_time() -> None:
    passwords = {run.readable_password() for _ in range(100)}
    assert len(passwords) == 100
    assert all(
        re.fullmatch(r"([bdfghjklmnprstvwz][aeiou]){2}[2-9](-\w{5}){3}", p) for p in passwords
    )


def test_a_number_that_is_no_port_is_refused() -> None:
    with pytest.raises(SystemExit):
        run.main(["--synapse-port", "70000"])


@pytest.mark.e2e
def test_it_logs_in_stays_and_ends_without_a_trace(demo: Demo) -> None:
    with subprocess.Popen(command(demo), cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        lines = list(iter(running.stdout.readline, "Both run until Ctrl-C.\n"))
        assert any("It works: demo has logged in" in line for line in lines)
        password = demo.password.read_text()
        assert any(password in line for line in lines)
        assert demo.password.stat().st_mode & 0o777 == 0o600
        assert not port_is_free(demo.synapse_port)
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(30) == 0
    assert port_is_free(demo.synapse_port)
    assert port_is_free(demo.service_port)
