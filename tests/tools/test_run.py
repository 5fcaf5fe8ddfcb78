"""tools.run: the demo says what it is doing, and leaves nothing running."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tools import run
from tools.demo import STATE, Demo
from tools.locks import ROOT
from tools.processes import port_is_free


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


def test_the_password_can_be_read_out_and_differs_each_time() -> None:
    passwords = {run.readable_password() for _ in range(100)}
    assert len(passwords) == 100
    assert all(
        re.fullmatch(r"([bdfghjklmnprstvwz][aeiou]){2}[2-9](-\w{5}){3}", p) for p in passwords
    )


@pytest.mark.parametrize("port", ["70000", "0", "-1", "abc", ""])
def test_a_number_that_is_no_port_is_refused(capsys: pytest.CaptureFixture[str], port: str) -> None:
    with pytest.raises(SystemExit):
        run.main([f"--synapse-port={port}"])
    said = capsys.readouterr().err.splitlines()
    assert said[-1].endswith("argument --synapse-port: a port is a number from 1 to 65535")


def test_an_option_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--on"])
    assert "unrecognized arguments: --on" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["/", "/.."])
def test_the_root_of_all_folders_is_no_place(
    capsys: pytest.CaptureFixture[str], state: str
) -> None:
    with pytest.raises(SystemExit):
        run.main(["--state", state])
    assert "name one below it" in capsys.readouterr().err


def test_an_impossible_place_is_told_by_the_name_that_was_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # Signals are this process's, and it is the tests'.
    (tmp_path / "file").touch()
    assert run.main(["--state", str(tmp_path / "file" / "demo")], signals=()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"run: There can be no state in {tmp_path}/file/demo ({tmp_path}/file: File exists): "
        "choose another folder with --state."
    )


def test_a_place_where_nothing_can_be_made_is_told_by_its_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # In the way of the lock, which root could make everywhere else.
    (tmp_path / "demo.lock").mkdir()
    assert run.main(["--state", str(tmp_path / "demo")], signals=()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no state in {tmp_path}/demo (Is a directory)" in line


@pytest.mark.parametrize("once", [True, False])
def test_the_summary_fits_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, once: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = Demo(state=tmp_path / STATE, service_port=65535, synapse_port=65534, once=once)
    usual.password.parent.mkdir(parents=True)
    password = run.readable_password()
    usual.password.write_text(password)
    said = run.summary(usual, seconds=100)

    assert max(map(len, said.splitlines())) <= 80
    (given,) = re.findall(r"-d '(.*?)'", said, re.DOTALL)
    assert json.loads(given) == {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "demo"},
        "password": password,
    }


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
