"""Files that change while the homeserver runs."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from lalepass_provider.files import FileFault, Fixed, Watched


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def joined(contents: Sequence[bytes]) -> bytes:
    """Join two contents that have to be of one edition: `1a` and `1b`."""
    if len({content[:1] for content in contents}) != 1:
        raise ValueError("they do not belong together")
    return b"".join(contents)


def replace(path: Path, content: bytes) -> None:
    """Replace a file as an operator's tool does."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"1a")
    second.write_bytes(b"1b")
    return first, second


def test_a_change_is_seen_a_second_later(pair: tuple[Path, Path]) -> None:
    time = Time()
    watched = Watched(pair[:1], joined, clock=time)
    replace(pair[0], b"2a")

    time.now = 0.9
    assert (watched.current(), watched.version) == (b"1a", 0)
    time.now = 1.0
    assert (watched.current(), watched.version) == (b"2a", 1)


def test_a_file_that_is_written_in_place_is_seen_too(pair: tuple[Path, Path]) -> None:
    time = Time()
    watched = Watched(pair[:1], joined, clock=time)
    pair[0].write_bytes(b"2a, and more of it")
    time.now = 5

    assert watched.current() == b"2a, and more of it"


def test_a_link_to_another_file_is_a_change(tmp_path: Path) -> None:
    """Kubernetes changes a mounted secret like this."""
    for number in b"12":
        (tmp_path / f"v{chr(number)}").write_bytes(bytes([number]))
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "v1")
    for number in b"12":
        os.utime(tmp_path / f"v{chr(number)}", (0, 0))
    time = Time()
    watched = Watched([link], joined, clock=time)
    link.unlink()
    link.symlink_to(tmp_path / "v2")
    time.now = 5

    assert watched.current() == b"2"


def test_what_is_half_written_changes_nothing_and_is_logged_once(
    pair: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    watched = Watched(pair, joined, clock=time)
    replace(pair[0], b"2a")
    for _ in range(5):
        time.now += 1
        assert (watched.current(), watched.version) == (b"1a1b", 0)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "they do not belong together" in caplog.text
    assert "2a" not in caplog.text

    replace(pair[1], b"2b")
    time.now += 1
    assert (watched.current(), watched.version) == (b"2a2b", 1)


def test_a_file_that_goes_away_changes_nothing(
    pair: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    watched = Watched(pair, joined, clock=time)
    pair[0].unlink()
    for _ in range(5):
        time.now += 1
        assert watched.current() == b"1a1b"
    assert "No such file" in caplog.text
    assert len(caplog.records) == 1

    pair[0].write_bytes(b"1a")
    time.now += 1
    assert watched.current() == b"1a1b"


def test_who_can_not_wait_looks_at_once(pair: tuple[Path, Path]) -> None:
    watched = Watched(pair[:1], joined, clock=Time())
    assert not watched.look_again()

    replace(pair[0], b"2a")

    assert watched.look_again()
    assert watched.current() == b"2a"
    assert not watched.look_again()


def test_what_is_not_there_at_first_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="No such file") as refused:
        Watched([tmp_path / "none"], joined)

    assert refused.value.path == tmp_path / "none"


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=ascii)
def test_what_no_file_can_be_called_is_refused(name: str) -> None:
    with pytest.raises(FileFault, match="no file can have this name"):
        Watched([Path(name)], joined)


def test_what_makes_no_sense_at_first_is_refused(pair: tuple[Path, Path]) -> None:
    replace(pair[0], b"2a")

    with pytest.raises(FileFault, match="they do not belong together"):
        Watched(pair, joined)


def test_a_very_long_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * (1024 * 1024 + 1))

    with pytest.raises(FileFault, match="far too long"):
        Watched([tmp_path / "long"], joined)


def test_what_is_fixed_does_not_change() -> None:
    fixed = Fixed("value")

    assert (fixed.current(), fixed.version, fixed.look_again()) == ("value", 0, False)
