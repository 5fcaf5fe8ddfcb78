"""tools.synapses: each release has an environment of its own, made once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import synapses
from tools.locks import DEV, OLDER_SYNAPSES
from tools.synapses import ENVIRONMENT, RELEASES, NotInstalled, Release


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(OLDER_SYNAPSES[0], place=tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What uv is asked to do, instead of doing it."""
    asked: list[tuple[str, ...]] = []

    def uv(*arguments: str) -> None:
        asked.append(arguments)
        if arguments[0] == "venv":
            Path(arguments[-1]).mkdir(parents=True)

    monkeypatch.setattr(synapses, "_uv", uv)
    return asked


def test_the_oldest_comes_first_and_the_newest_is_our_own() -> None:
    versions = [tuple(map(int, release.version.split("."))) for release in RELEASES]

    assert versions == sorted(versions)
    assert [release.name for release in RELEASES] == ["oldest", "between", "newest"]
    assert RELEASES[-1].install() == sys.executable


def test_the_oldest_is_the_one_that_the_module_promises() -> None:
    assert RELEASES[0].version == "1.140.0"


def test_an_environment_is_made_once(release: Release, asked: list[tuple[str, ...]]) -> None:
    first = release.install()

    assert [arguments[:2] for arguments in asked] == [
        ("venv", "--quiet"),
        ("pip", "sync"),
        ("pip", "install"),
    ]
    assert "--require-hashes" in asked[1]
    asked.clear()
    assert release.install() == first
    assert asked == []


def test_it_is_made_anew_when_the_lock_has_changed(
    release: Release, asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    release.install()
    asked.clear()
    monkeypatch.setattr(Release, "_wanted", lambda _: "another lock")
    release.install()

    assert len(asked) == 3


def test_a_half_made_one_is_made_anew(release: Release, asked: list[tuple[str, ...]]) -> None:
    (release.place / release.name).mkdir()
    release.install()

    assert len(asked) == 3


def test_what_can_not_be_fetched_is_told(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 2, stdout="", stderr="error: no network\n")

    monkeypatch.setattr(subprocess, "run", run)

    with pytest.raises(NotInstalled, match=r"^error: no network$"):
        release.install()


def test_the_tests_are_told_which_synapse_to_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_it.py").write_text(
        "import os, sys\n\n"
        f"def test_it():\n    assert os.environ[{ENVIRONMENT!r}] == sys.executable\n\n"
        "def test_that():\n    assert False\n"
    )
    options = ("-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path))

    closing = synapses.test(Release(DEV), [*options, str(tmp_path)])

    assert closing.startswith("FAILED: 1 failed, 1 passed")
    assert "test_that" in capfd.readouterr().out


def test_the_modules_own_tests_run_beside_the_packages_of_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pytest is not among those."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "old"], check=True)
    python = tmp_path / "old" / "bin" / "python"
    (tmp_path / "test_it.py").write_text(
        f"import sys\n\ndef test_it():\n    assert sys.prefix == {str(tmp_path / 'old')!r}\n"
    )
    monkeypatch.setattr(synapses, "_UNITS", str(tmp_path))
    monkeypatch.setattr(Release, "install", lambda _: str(python))
    options = ("-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path))

    closing = synapses.test_units(RELEASES[0], options)

    assert closing.startswith("1 passed")
