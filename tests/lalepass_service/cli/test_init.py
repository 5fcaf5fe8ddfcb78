import errno
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from lalepass_service.cli.console import ExitCode
from lalepass_service.cli.init import folder_of_its_own
from lalepass_service.config import Config, Keys, load
from lalepass_service.core.errors import Conflict
from tests.lalepass_service.cli.operator import Operator


def _everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_makes_a_configuration_and_a_database(operator: Operator, tmp_path: Path) -> None:
    there = tmp_path / "new"
    said = operator.bare("init", "--directory", str(there)).done()

    (key,) = (there / "keys").glob("*.key")
    files = [f"keys/{key.name}", "keys/active", "keys/digest", "lalepass.db", "lalepass.toml"]
    assert _everything_in(there) == sorted(["keys", *files])
    assert {(there / file).stat().st_mode & 0o777 for file in files} == {0o600}
    assert (there / "keys").stat().st_mode & 0o777 == 0o700
    expected = Config(keys=Keys(directory=Path("keys")))
    assert load(there / "lalepass.toml") == expected.beside(there)
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    lalepass = f"lalepass --config {there}/lalepass.toml"
    assert commands == [
        f"{lalepass} user add alice",
        f"{lalepass} token create my-homeserver --scope check --scope feed",
        f"{lalepass} serve",
    ]


def test_in_the_working_directory_commands_are_short(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")

    assert "  lalepass serve\n" in operator.bare("init").done()


@pytest.mark.parametrize(
    ("called", "on_path", "shown"),
    [
        ("/there/lalepass", ["/there"], "lalepass"),
        ("/there/lalepass", [], "/there/lalepass"),
        # Another installation comes first.
        ("/there/lalepass", ["/other", "/there"], "/there/lalepass"),
        ("/a folder/lalepass", [], "'/a folder/lalepass'"),
        (
            "/there/lalepass_service/__main__.py",
            ["/there"],
            f"{sys.executable} -m lalepass_service",
        ),
        ("/there/pytest", [], "lalepass"),
    ],
)
def test_it_says_how_it_can_be_called_again(
    operator: Operator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    called: str,
    on_path: list[str],
    shown: str,
) -> None:
    for folder in ("there", "other", "a folder"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lalepass").touch(mode=0o755)
    monkeypatch.setenv("PATH", ":".join(f"{tmp_path}{folder}" for folder in on_path))
    monkeypatch.setattr(sys, "argv", [f"{tmp_path}{called}"])
    monkeypatch.chdir(tmp_path / "other")
    said = operator.bare("init", "--directory", str(tmp_path / "new")).done()

    assert f"  {shown} --config " in said.replace(str(tmp_path / "new"), "").replace(
        str(tmp_path), ""
    )


def test_it_does_not_touch_what_is_there(operator: Operator) -> None:
    config = operator.directory / "lalepass.toml"
    config.write_text("# mine")
    said = operator.bare("init", "--directory", str(operator.directory))

    assert said.refused(ExitCode.REFUSED).startswith(f"{config} is there already: ")
    assert config.read_text() == "# mine"


def test_it_takes_over_a_database_that_is_there(operator: Operator) -> None:
    operator("user", "add", "alice", "--no-password").done()
    (operator.directory / "lalepass.toml").unlink()
    operator.bare("init", "--directory", str(operator.directory)).done()

    assert operator("user", "show", "alice").code == ExitCode.OK


def test_it_takes_over_keys_that_are_there(operator: Operator) -> None:
    operator.add("alice")
    before = sorted((operator.directory / "keys").iterdir())
    (operator.directory / "lalepass.toml").unlink()
    operator.bare("init", "--directory", str(operator.directory)).done()

    assert sorted((operator.directory / "keys").iterdir()) == before
    operator("config", "check").done()


def test_broken_keys_that_are_there_are_left_as_they_are(operator: Operator) -> None:
    digest = operator.directory / "keys" / "digest"
    digest.write_text("x")
    before = _everything_in(operator.directory)
    (operator.directory / "lalepass.toml").unlink()
    said = operator.bare("init", "--directory", str(operator.directory))

    assert said.refused(ExitCode.OUTSIDE) == f"{digest}: is not a key file of lalepass"
    before.remove("lalepass.toml")
    assert _everything_in(operator.directory) == before


def test_a_folder_for_keys_that_is_a_file_is_left_alone(operator: Operator, tmp_path: Path) -> None:
    there = tmp_path / "new"
    there.mkdir()
    (there / "keys").write_text("mine")
    operator.bare("init", "--directory", str(there)).refused(ExitCode.OUTSIDE)

    assert _everything_in(there) == ["keys"]


def test_an_empty_folder_for_keys_is_empty_after_a_failure(
    operator: Operator, tmp_path: Path
) -> None:
    there = tmp_path / "new"
    (there / "keys").mkdir(parents=True)
    (there / "lalepass.toml").symlink_to(tmp_path / "nowhere" / "lalepass.toml")
    operator.bare("init", "--directory", str(there)).refused(ExitCode.OUTSIDE)

    assert _everything_in(there) == ["keys", "lalepass.toml"]


def test_a_failure_leaves_nothing_behind(operator: Operator, tmp_path: Path) -> None:
    there = tmp_path / "new"
    there.mkdir()
    # Not to be seen by a look, and yet in the way of the last step.
    (there / "lalepass.toml").symlink_to(tmp_path / "nowhere" / "lalepass.toml")
    said = operator.bare("init", "--directory", str(there))

    assert said.refused(ExitCode.OUTSIDE).startswith(f"{there}/lalepass.toml is there already")
    assert _everything_in(there) == ["lalepass.toml"]


def test_a_configuration_that_can_not_be_written_is_not_there_in_part(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "new"
    there.mkdir()

    def full(descriptor: int) -> None:
        if ".lalepass.toml." in Path(f"/proc/self/fd/{descriptor}").readlink().name:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lalepass_service.cli.files.os.fsync", full)
    said = operator.bare("init", "--directory", str(there))

    assert "No space left on device" in said.refused(ExitCode.OUTSIDE)
    assert _everything_in(there) == []


def test_a_database_of_another_program_is_left_alone(operator: Operator, tmp_path: Path) -> None:
    there = tmp_path / "new"
    there.mkdir()
    (there / "lalepass.db").write_text("no database " * 100)
    said = operator.bare("init", "--directory", str(there))

    assert "file is not a database" in said.refused(ExitCode.OUTSIDE)
    assert _everything_in(there) == ["lalepass.db"]


@pytest.mark.parametrize("where", ["missing/folder", "file"])
def test_where_there_is_no_place_it_says_so(operator: Operator, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("x")
    said = operator.bare("init", "--directory", str(tmp_path / where))

    said.refused(ExitCode.OUTSIDE)
    assert not (tmp_path / "missing").exists()


def test_who_comes_second_never_removes_the_folder_of_the_first(tmp_path: Path) -> None:
    # Both find no folder; one makes it, and the other must not take it away again as "new".
    for turn in range(200):
        folder = tmp_path / str(turn)
        together = Barrier(2)

        with ThreadPoolExecutor(max_workers=2) as threads:
            both = [threads.submit(_take, folder, together) for _ in range(2)]
        faults = [done.exception() for done in both]

        assert None in faults
        assert {type(fault) for fault in faults} <= {type(None), Conflict}
        assert (folder / "made").exists()


def _take(folder: Path, together: Barrier) -> None:
    together.wait(timeout=10)
    with folder_of_its_own(folder):
        made = folder / "made"
        if made.exists():
            raise Conflict("the first has done it all")
        made.touch()
