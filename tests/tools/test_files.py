"""tools.files: what is for one person is never for another, nor half there."""

from pathlib import Path

import pytest

from tools.files import keep_private, last_lines, write_private


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "café")

    assert path.read_text(encoding="utf-8") == "café"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_text_replaces_the_old_one_and_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("a long text from before")
    path.chmod(0o644)
    write_private(path, "new")

    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_can_not_be_written_leaves_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\udcff")

    assert path.read_text() == "old"


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "key"

    assert keep_private(path, "first") == "first"
    assert keep_private(path, "second") == "first"


def test_the_end_of_a_file_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a\nb\n\xff\n")

    assert last_lines(log, 2) == "b\n\ufffd"
    assert last_lines(log, 9) == "a\nb\n\ufffd"
    assert last_lines(tmp_path / "none", 9) == ""


def test_of_a_large_file_only_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x" * 999 + "\n" + f"{'y' * 99}\n" * 2000)

    assert last_lines(log, 5000).count("\n") < 700
