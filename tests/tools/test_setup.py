"""tools.setup: what stands in the way is said in one sentence, and done work is not done again."""

import ast
import fcntl
import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tools import setup
from tools.locks import ROOT
from tools.pip_faults import Fault, report
from tools.setup import Place, set_up


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a checkout with locks, and nothing set up."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "bootstrap.txt").write_text("uv==1\n")
    (tmp_path / "requirements" / "dev.txt").write_text("uv==1\nattrs==1\n")
    return Place(tmp_path)


@pytest.fixture
def python_says(place: Place, monkeypatch: pytest.MonkeyPatch) -> "PythonStub":
    """In place of a virtual environment, whose making takes seconds and fetches things."""
    stub = PythonStub(place)
    monkeypatch.setattr(setup, "_make_venv", lambda *_: stub.install())
    return stub


class PythonStub:
    """The interpreter of `.venv`: notes its arguments, and fails where it should."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._cases = ""

    def fails(self, arguments: str, output: str) -> None:
        self._cases += f"*'{arguments}'*) echo '{output}'; exit 1;;\n"

    def install(self) -> None:
        python = self._place.python
        python.parent.mkdir(parents=True)
        calls = self._place.root / "calls"
        script = f'#!/bin/sh\necho "$*" >> {calls}\ncase "$*" in\n{self._cases}esac\n'
        python.write_text(script)
        (self._place.venv / "pyvenv.cfg").touch()
        python.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return (self._place.root / "calls").read_text().splitlines()


def make_setup(place: Place, *, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run it as make does, after `before`, which changes the Python that it finds."""
    code = f"""
    import runpy, sys
    {before}
    sys.argv = ["setup", "--root", {str(place.root)!r}]
    runpy.run_module("tools.setup", run_name="__main__")
    """
    return subprocess.run(
        [sys.executable, "-c", dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def complete(place: Place) -> None:
    place.python.parent.mkdir(parents=True)
    place.python.touch(mode=0o700)
    place.stamp.write_text(json.dumps(setup.wanted_stamp(place)))


def test_a_python_that_is_too_old_is_told(place: Place) -> None:
    done = make_setup(place, before="sys.version_info = (3, 9, 2, 'final', 0)")
    assert done.returncode == 3
    assert "this is Python 3.9 and Lalepass needs 3.11 or newer" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_python_that_is_too_old_can_read_it() -> None:
    source = (ROOT / "tools" / "setup.py").read_text()
    ast.parse(source, feature_version=(3, 7))
    before_the_check = source.partition("if sys.version_info")[0]
    imported = [line for line in before_the_check.splitlines() if line.startswith("import ")]
    assert imported == ["import sys"]


def test_it_needs_nothing_that_is_not_there_yet() -> None:
    # Without the packages of the environment.
    subprocess.run(
        [sys.executable, "-S", "-c", "import tools.setup"], cwd=ROOT, check=True, timeout=30
    )


def test_a_python_without_venv_is_told(place: Place) -> None:
    done = make_setup(place, before="sys.modules['ensurepip'] = None")
    assert done.returncode == 4
    assert "apt install python3-venv" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not place.venv.exists()


def test_a_complete_environment_needs_nothing(place: Place) -> None:
    complete(place)
    done = make_setup(place, before="sys.modules['ensurepip'] = None")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_environment_without_its_python_is_made_anew(place: Place) -> None:
    complete(place)
    place.python.unlink()
    done = make_setup(place, before="sys.modules['ensurepip'] = None")
    # It wants to begin, which this Python can't.
    assert done.returncode == 4


def test_it_is_filled_from_the_locks(place: Place, python_says: PythonStub) -> None:
    set_up(place)
    uv, sync, itself = python_says.calls
    assert "pip install" in uv
    assert uv.endswith(f"--require-hashes -r {place.requirements('bootstrap')}")
    assert "-m uv pip sync --require-hashes --compile-bytecode" in sync
    assert "--no-deps --no-build-isolation --editable" in itself
    set_up(place)
    assert len(python_says.calls) == 3


def test_a_changed_lock_renews_what_is_there(place: Place, python_says: PythonStub) -> None:
    set_up(place)
    kept = place.venv / "kept"
    kept.touch()
    place.requirements("dev").write_text("uv==1\nattrs==2\n")
    set_up(place)
    assert kept.exists()
    assert len(python_says.calls) == 6


@pytest.mark.parametrize("fact", ["root", "interpreter"])
def test_an_environment_of_another_python_or_place_is_made_anew(
    place: Place, python_says: PythonStub, fact: str
) -> None:
    set_up(place)
    old = place.venv / "old"
    old.touch()
    place.stamp.write_text(json.dumps({**setup.wanted_stamp(place), fact: "another"}))
    set_up(place)
    assert not old.exists()
    assert len(python_says.calls) == 6


@pytest.mark.usefixtures("python_says")
def test_a_half_made_environment_is_made_anew(place: Place) -> None:
    place.venv.mkdir()
    (place.venv / "pyvenv.cfg").touch()
    (place.venv / "half").touch()
    set_up(place)
    assert not (place.venv / "half").exists()
    assert setup.found_stamp(place) == setup.wanted_stamp(place)


@pytest.mark.usefixtures("python_says")
def test_what_is_no_environment_is_not_removed(place: Place) -> None:
    place.venv.mkdir()
    (place.venv / "letters").touch()
    with pytest.raises(Fault, match="move it out of the way"):
        set_up(place)
    assert (place.venv / "letters").exists()


@pytest.mark.parametrize(
    ("output", "code", "sentence"),
    [
        ("NewConnectionError: Failed to establish", 5, "The package index can.t be reached"),
        ("Temporary failure in name resolution", 5, "The package index can.t be reached"),
        ("OSError: [Errno 28] No space left on device", 6, "The disk is full"),
    ],
)
def test_a_network_or_a_disk_that_fails_is_told(
    place: Place, python_says: PythonStub, output: str, code: int, sentence: str
) -> None:
    python_says.fails("requirements/bootstrap.txt", output)
    with pytest.raises(Fault, match=sentence) as fault:
        set_up(place)
    assert fault.value.code == code
    assert fault.value.log == place.log
    assert output in place.log.read_text()
    assert setup.found_stamp(place) is None


def test_pip_takes_over_where_uv_finds_no_index(place: Place, python_says: PythonStub) -> None:
    python_says.fails("uv pip sync", "error: Failed to fetch: client error (Connect)")
    set_up(place)
    assert "pip install" in python_says.calls[2]
    assert python_says.calls[2].endswith("requirements/dev.txt")


def test_pip_takes_over_where_there_is_no_uv(place: Place, python_says: PythonStub) -> None:
    python_says.fails("requirements/bootstrap.txt", "no matching distribution for this system")
    set_up(place)
    assert not any("uv pip" in call for call in python_says.calls)
    assert python_says.calls[1].endswith("requirements/dev.txt")


def test_a_hash_that_differs_is_shown_and_not_taken_for_a_bad_network(
    place: Place, python_says: PythonStub, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ("uv pip sync", "requirements/dev.txt"):
        python_says.fails(arguments, "THESE PACKAGES DO NOT MATCH THE HASHES")
    with pytest.raises(Fault) as fault:
        set_up(place)
    assert report(fault.value) == 7
    shown = capsys.readouterr().err
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in shown
    assert str(place.log) in shown


def test_of_two_at_once_one_waits(place: Place) -> None:
    place.lock.parent.mkdir()
    with place.lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "tools.setup", "--root", str(place.root)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert "waiting for another make" in second.stdout.readline()
            # The first has done the work, so there is nothing left for the second.
            complete(place)
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert second.wait(20) == 0


def test_what_the_system_refuses_is_told(place: Place) -> None:
    (place.root / ".run").touch()
    done = make_setup(place)
    assert done.returncode == 7
    assert done.stderr == f"setup: File exists: {place.root / '.run'}.\n"
