"""tools.pip_faults: what went wrong, told from the words of other programs."""

import errno
from pathlib import Path

import pytest

from tools.pip_faults import Code, CommandFailed, Fault, fault_of_system, report


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("error: failed to write: No space left on device (os error 28)", Code.DISK_FULL),
        ("OSError: [Errno 122] Disk quota exceeded", Code.DISK_FULL),
        ("  Caused by: dns error: failed to lookup address information", Code.NO_NETWORK),
        ("ERROR: Could not find a version that satisfies the requirement", Code.OTHER),
        ("os error 2: there is no such file", Code.OTHER),
        ("", Code.OTHER),
    ],
)
def test_the_cause_is_read_from_what_was_said(output: str, cause: Code) -> None:
    assert CommandFailed(output).cause is cause


def test_a_cause_that_nobody_knows_is_told_by_where_it_was_met(tmp_path: Path) -> None:
    fault = CommandFailed("what?").fault("making .venv", tmp_path / "log")

    assert str(fault) == "Failed at making .venv."
    assert (fault.code, fault.log) == (Code.OTHER, tmp_path / "log")


def test_a_full_disk_is_one_whoever_says_so() -> None:
    of_system = fault_of_system(OSError(errno.ENOSPC, "No space left on device", "x"))

    assert of_system.code == Code.DISK_FULL
    assert str(of_system) == str(CommandFailed("Disk quota exceeded").fault("x", Path("log")))


def test_it_is_told_with_the_end_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number}" for number in range(99)))

    assert report(Fault("Failed.", code=Code.NO_VENV, log=log)) == 4
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"setup: the end of {log}:"
    assert said[-3:] == ["line 98", "", "setup: Failed."]
    assert "line 80" not in said
