"""What is standard about the standard streams is not what every caller makes of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def made(tmp_path: Path) -> Path:
    run("init", "--directory", str(tmp_path / "d"))
    return tmp_path / "d"


def run(
    *arguments: str, shell_tail: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    command = f'exec "{sys.executable}" -m lalepass_service "$@" {shell_tail}'
    return subprocess.run(
        ["/bin/sh", "-c", command, "sh", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )


def lalepass(made: Path, *arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    return run("--config", str(made / "lalepass.toml"), *arguments, **options)


def live_tokens(made: Path) -> list[str]:
    listed = json.loads(lalepass(made, "token", "list", "--json").stdout)["tokens"]
    return [token["id"] for token in listed if token["revoked_at"] is None]


@pytest.mark.parametrize("tail", [">/dev/full", ">&-"])
def test_a_token_that_nobody_could_see_does_not_live_on(made: Path, tail: str) -> None:
    done = lalepass(made, "token", "create", "hs", "--scope", "check", shell_tail=tail)

    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert live_tokens(made) == []


@pytest.mark.parametrize("tail", [">&-", "2>&-", "<&-"])
def test_a_closed_stream_is_no_traceback(made: Path, tail: str) -> None:
    done = lalepass(made, "user", "add", "alice", "--password-stdin", shell_tail=tail)

    assert done.returncode in {2, 4}
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_knows_few_letters_is_told_the_others_by_number(
    made: Path, encoding: str
) -> None:
    lalepass(
        made, "user", "add", "alice", "--no-password", "--display-name", "\u0141ucja \U0001f600"
    )

    done = lalepass(made, "user", "show", "alice", PYTHONIOENCODING=encoding)

    assert done.returncode == 0, done.stderr
    assert "\\u0141ucja \\U0001f600" in done.stdout


@pytest.mark.parametrize("columns", ["0", "1", "5"])
def test_a_narrow_terminal_loses_nothing(made: Path, columns: str) -> None:
    lalepass(made, "user", "add", "alice", "--no-password")

    shown = lalepass(made, "user", "list", COLUMNS=columns).stdout

    assert "alice" in shown
    assert "active" in shown


def test_two_inits_at_once_make_one_installation(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    command = [sys.executable, "-m", "lalepass_service", "init", "--directory", str(folder)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for one in both:
        one.communicate(timeout=60)

    assert sorted(one.returncode for one in both) in ([0, 1], [0, 4])
    assert (folder / "lalepass.db").exists()
    assert lalepass(folder, "user", "list").returncode == 0
