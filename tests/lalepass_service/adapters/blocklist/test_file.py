"""A file that is not what `build` made is refused before anybody is asked for a password."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lalepass_service.adapters.blocklist import file as module
from lalepass_service.adapters.blocklist.file import RECORD, RECORDS_AT, MappedBlocklist
from lalepass_service.core.errors import BlocklistUnavailable
from tests.lalepass_service.adapters.blocklist.lists import a_list


def _flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "it is no file with something in it"),
    "one byte": (lambda raw: raw[:1], "it is not of `lalepass blocklist build`"),
    "a list of passwords": (
        lambda _: b"password\n" * 99,
        "it is not of `lalepass blocklist build`",
    ),
    "a header alone": (lambda raw: raw[:96], "it has been cut off"),
    "half an index": (lambda raw: raw[:9999], "it has been cut off"),
    "an entry less": (lambda raw: raw[:-RECORD], "which do not hold 3 entries"),
    "a byte less": (lambda raw: raw[:-1], "which do not hold 3 entries"),
    "a byte more": (lambda raw: raw + b"\0", "which do not hold 3 entries"),
    "another version": (lambda raw: raw[:8] + b"\0\2" + raw[10:], "it is of version 2"),
    "another algorithm": (_flipped(10), "its header is not the one"),
    "another width": (_flipped(11), "its header is not the one"),
    "another count": (_flipped(23), "its header is not the one"),
    "a wrong index": (_flipped(RECORDS_AT - 1), "its header is not the one"),
    "a wrong entry": (_flipped(RECORDS_AT), "its entries are not those"),
    "a wrong last byte": (_flipped(RECORDS_AT + 3 * RECORD - 1), "its entries are not those"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return a_list(tmp_path / "list", ["one", "two", "three"])


@pytest.mark.parametrize(("damage", "why"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_in_one_sentence(
    path: Path, damage: Callable[[bytes], bytes], why: str
) -> None:
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(BlocklistUnavailable) as caught:
        MappedBlocklist.open(path)

    assert str(path) in str(caught.value)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("odd", ["missing", "folder", "pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, odd: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(BlocklistUnavailable):
        MappedBlocklist.open(tmp_path / odd)


@pytest.mark.parametrize("size", [0, RECORDS_AT, 999_999])
def test_a_file_that_is_written_over_is_noticed_and_does_not_end_the_process(
    path: Path, size: int
) -> None:
    with closing(MappedBlocklist.open(path)) as opened:
        os.truncate(path, size)

        with pytest.raises(BlocklistUnavailable, match="it has changed its size"):
            opened.contains("one")


def test_a_new_file_may_be_moved_over_one_that_is_in_use(path: Path) -> None:
    with closing(MappedBlocklist.open(path)) as opened:
        a_list(path, ["four"])

        assert opened.contains("one")
        assert not opened.contains("four")


def test_the_size_of_a_long_file_decides_and_its_entries_are_read_on_demand(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ_WHOLE", 0)
    path.write_bytes(_flipped(RECORDS_AT)(path.read_bytes()))

    with (
        closing(MappedBlocklist.open(path)) as opened,
        pytest.raises(BlocklistUnavailable, match="its entries are not those"),
    ):
        opened.verify()


def test_no_password_is_in_the_file(tmp_path: Path) -> None:
    assert b"canary" not in a_list(tmp_path / "canaries", ["canary-7f3a"]).read_bytes()
