"""A built file holds exactly the passwords of its sources, however little memory there was."""

import hashlib
import io
import os
import re
import tempfile
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalepass_service.adapters.blocklist import sources
from lalepass_service.adapters.blocklist.build import build
from lalepass_service.adapters.blocklist.digests import WIDTH, Algorithm
from lalepass_service.adapters.blocklist.file import MappedBlocklist
from lalepass_service.adapters.blocklist.sources import Tally
from lalepass_service.core.errors import InvalidInput
from tests.lalepass_service.adapters.blocklist.lists import made

# Few different ones, so that some come twice; and what editors, dumps and accidents put into lists.
lines = st.lists(
    st.one_of(
        st.text("ab\u00fcu\u0308 \t\r", max_size=4).map(str.encode),
        st.sampled_from([b"", b"\r", b"\xff\xfe", b"pass\xe9", b"x" * 4096, b"x" * 4097]),
        st.just(b"y" * 3_000_000),
        st.binary(max_size=6).map(lambda raw: raw.replace(b"\n", b"")),
    ),
    max_size=30,
)


def expected_of(raw: bytes) -> set[str]:
    """What a list means, said in another way."""
    words = set()
    for word in re.split(rb"\r\n|\r|\n", raw.removeprefix(b"\xef\xbb\xbf")):
        try:
            words.add(unicodedata.normalize("NFC", word.decode()) if len(word) <= 4096 else "")
        except UnicodeDecodeError:
            continue
    return words - {""}


@settings(max_examples=60, deadline=None)
@given(lines, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
def test_a_file_holds_what_its_source_holds_and_nothing_else(
    listed: list[bytes],
    ending: bytes,
    ended: bool,  # noqa: FBT001 - Hypothesis passes it by name
) -> None:
    raw = ending.join(listed) + (ending if ended else b"")
    expected = expected_of(raw)
    with tempfile.TemporaryDirectory() as folder:
        if not expected:
            with pytest.raises(InvalidInput):
                made(raw, Path(folder) / "list")
            return
        path = made(raw, Path(folder) / "list")
        with closing(MappedBlocklist.open(path)) as opened:
            assert opened.header.count == len(expected)
            assert all(map(opened.contains, expected))
            assert not any(opened.contains(f"{word}!") for word in expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=200), st.sampled_from([1, 2, 7]))
def test_with_little_memory_it_makes_the_same_file(numbers: list[int], chunk: int) -> None:
    raw = "\n".join(map(str, numbers)).encode()
    with tempfile.TemporaryDirectory() as folder:
        at_once = made(raw, Path(folder) / "at-once")
        piecewise = made(raw, Path(folder) / "piecewise", chunk=chunk)

        assert at_once.read_bytes() == piecewise.read_bytes()


def test_digests_that_differ_in_their_last_byte_only_are_told_apart(tmp_path: Path) -> None:
    alike = [bytes(11) + bytes([last]) for last in range(256)]
    path = tmp_path / "list"

    built = build([alike, alike], path, algorithm=Algorithm.SHA256, chunk=3)

    assert built.entries == 256
    assert built.size == path.stat().st_size
    MappedBlocklist.open(path).close()


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    made(b"one\ntwo\n", tmp_path / "list", chunk=1)

    assert [path.name for path in tmp_path.iterdir()] == ["list"]


def test_a_failed_build_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = made(b"the old one", tmp_path / "list")
    before = path.read_bytes()

    with pytest.raises(InvalidInput):
        made(b"no digest", path, form="sha1-hibp")

    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["list"]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    tally = Tally()
    made(b"\xef\xbb\xbfone\r\n\xff\n\n" + b"x" * 5000 + b"\ntwo", tmp_path / "list", tally=tally)

    assert (tally.lines, tally.not_text, tally.too_long) == (5, 1, 1)
    with closing(MappedBlocklist.open(tmp_path / "list")) as opened:
        assert opened.header.count == 2
        assert opened.contains("one")


SHA1 = b"5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8"
"""Of `password`."""
NOTHING = "there is no password in the sources: nothing was made"


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (SHA1, 1),
        (SHA1 + b":3", 1),
        (SHA1.lower() + b":3\r\n\r\n" + SHA1, 1),
        (SHA1 + b":3\r" + b"0" * 40 + b":1\r", 2),
    ],
)
def test_digests_are_read_as_the_range_host_writes_them(
    tmp_path: Path, raw: bytes, count: int
) -> None:
    with closing(MappedBlocklist.open(made(raw, tmp_path / "l", form="sha1-hibp"))) as opened:
        assert opened.header.count == count
        assert opened.contains("password")


@pytest.mark.parametrize(
    ("form", "raw", "sentence"),
    [
        ("sha1-hibp", SHA1 + b"\npassword", "source, line 2: this is no SHA-1 digest"),
        ("sha1-hibp", SHA1[:32] + b":3", "source, line 1: this is no SHA-1 digest"),
        ("sha1-hibp", SHA1 + b":many", "source, line 1: this is no SHA-1 digest"),
        ("plain", SHA1 + b":3\n", "source holds SHA-1 digests: use --format sha1-hibp"),
        ("plain", b"\n \r\n" + SHA1, "source holds SHA-1 digests: use --format sha1-hibp"),
        ("plain", b"", NOTHING),
        ("plain", b"\n\r\n\xff\n", NOTHING),
        ("sha1-hibp", b"", NOTHING),
        ("sha1-hibp", SHA1 + b":0\n", NOTHING),
    ],
)
def test_a_list_in_another_format_is_refused_without_repeating_it(
    tmp_path: Path, form: str, raw: bytes, sentence: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        made(raw, tmp_path / "list", form=form)

    assert str(caught.value) == sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_the_halves_of_a_line_end_may_come_apart(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_BLOCK", size)
    tally = Tally()
    stream = io.BytesIO(b"one\r\ntwo\rthree\n\nfour\r\n")

    digests = [each for batch in sources.plain(stream, "source", tally) for each in batch]

    words = (b"one", b"two", b"three", b"four")
    assert digests == [hashlib.sha256(word).digest()[:WIDTH] for word in words]
    assert tally.lines == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_list_that_root_makes_belongs_to_the_owner_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 4242, 4243)

    status = made(b"one", folder / "list").stat()

    assert (status.st_uid, status.st_gid) == (4242, 4243)
