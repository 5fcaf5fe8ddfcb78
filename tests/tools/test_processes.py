"""tools.processes, with small servers in place of a homeserver."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tools.processes import (
    LOOPBACK,
    NotHealthyInTime,
    Process,
    ProcessDied,
    free_port,
    port_is_free,
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", dedent(code)]


def process(log: Path, code: str, *, port: int | None = None) -> Process:
    health_url = f"http://{LOOPBACK}:{port}/" if port else None
    return Process(name="the server", command=python(code), log=log, health_url=health_url)


def runs(pid: int) -> bool:
    """A zombie does not count: it waits for an init that a container may not have."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_for(fact: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    pause = subprocess.Popen(python("import sys; sys.stdin.read()"), stdin=subprocess.PIPE)
    with pause:
        while not fact():
            assert time.monotonic() < deadline, "it did not come true"
            with pytest.raises(subprocess.TimeoutExpired):
                pause.wait(0.02)
        pause.kill()


def pid_in(path: Path) -> int:
    wait_for(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_a_free_port_is_given_once_and_never_to_a_connection() -> None:
    ports = [free_port() for _ in range(100)]

    assert len(set(ports)) == 100
    assert all(1024 < port < 32768 for port in ports)
    assert all(port_is_free(port) for port in ports)


def test_it_is_healthy_as_soon_as_its_url_answers(tmp_path: Path) -> None:
    port = free_port()
    server = Process(
        name="the server",
        command=[sys.executable, "-m", "http.server", str(port), "--bind", LOOPBACK],
        directory=tmp_path,
        log=tmp_path / "log",
        health_url=f"http://{LOOPBACK}:{port}/",
    )
    with server:
        server.wait_until_healthy(10)
        assert not port_is_free(port)
    assert port_is_free(port)


def test_one_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "print('no such option: wings'); raise SystemExit(3)"
    with (
        process(tmp_path / "log", code, port=free_port()) as server,
        pytest.raises(ProcessDied, match=r"the server ended by itself \(exit code 3\)") as died,
    ):
        server.wait_until_healthy(10)
    assert died.value.log_tail == "no such option: wings"


def test_one_that_is_not_healthy_in_time_is_told(tmp_path: Path) -> None:
    with (
        process(tmp_path / "log", "import time; time.sleep(60)", port=free_port()) as server,
        pytest.raises(NotHealthyInTime, match="within 0 seconds"),
    ):
        server.wait_until_healthy(0.2)


def test_one_that_does_not_heed_the_request_to_end_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    server = process(
        tmp_path / "log",
        f"""
        import os, pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(pid_file)!r}).write_text(f"{{os.getpid()}}\\n")
        time.sleep(60)
        """,
    )
    server.start()
    pid = pid_in(pid_file)
    server.stop(grace=0.2)
    assert not runs(pid)


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    server = process(
        tmp_path / "log",
        f"""
        import pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        pathlib.Path({str(pid_file)!r}).write_text(f"{{child.pid}}\\n")
        time.sleep(60)
        """,
    )
    with server:
        grandchild = pid_in(pid_file)
        assert runs(grandchild)
    wait_for(lambda: not runs(grandchild))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    parent = subprocess.Popen(
        python(f"""
        import pathlib, sys, time
        from tools.processes import Process
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = Process(name="child", command=sleep, log=pathlib.Path({str(tmp_path / "log")!r}))
        child.start()
        pathlib.Path({str(pid_file)!r}).write_text(f"{{child.pid}}\\n")
        time.sleep(60)
        """)
    )
    with parent:
        child = pid_in(pid_file)
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not runs(child))


def test_it_can_be_started_again(tmp_path: Path) -> None:
    server = process(tmp_path / "log", "print('hello')")
    for _ in range(2):
        server.start()
        assert server.wait() == 0
        server.stop()
    assert server.log_tail() == "hello\nhello"


def test_it_is_not_started_twice_at_a_time(tmp_path: Path) -> None:
    with (
        process(tmp_path / "log", "import time; time.sleep(60)") as server,
        pytest.raises(RuntimeError, match="runs already"),
    ):
        server.start()


def test_it_has_a_group_of_its_own_so_that_ctrl_c_is_ours(tmp_path: Path) -> None:
    with process(tmp_path / "log", "import time; time.sleep(60)") as server:
        assert server.pid is not None
        assert os.getpgid(server.pid) == server.pid


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        assert not port_is_free(server.getsockname()[1])
