"""The copy of the trail in a file: whole lines, rotated at any time, and never in anybody's way."""

# ruff: noqa: ASYNC240 - the loop has nothing else to do while a test looks at its file

import json
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lalepass_service.adapters.jsonlines import LineFile, TrailCopy
from lalepass_service.core.audit import document
from tests.lalepass_service.accounts import ACT
from tests.lalepass_service.adapters.killing import Nursery
from tests.lalepass_service.adapters.sql.faults import no_file_grows
from tests.lalepass_service.waiting import until

pytestmark = pytest.mark.anyio

ODD = replace(ACT, user_agent='\n"\\\u2028\U0001f600\x1b[2J', details={"why": "ü", "admin": True})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail.jsonl"


@pytest.fixture
def file(path: Path) -> Iterator[LineFile]:
    with closing(LineFile(path)) as file:
        yield file


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_an_entry_is_a_line_as_it_is_exported(file: LineFile, path: Path) -> None:
    file.append(ACT)
    file.append(ODD)

    assert lines(path) == [document(ACT), document(ODD)]


def test_a_new_file_is_its_owners_alone(file: LineFile, path: Path) -> None:
    before = os.umask(0)
    try:
        file.append(ACT)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_there_stays_with_its_mode(file: LineFile, path: Path) -> None:
    path.write_text('{"from": "before"}\n')
    path.chmod(0o640)

    file.append(ACT)

    assert lines(path) == [{"from": "before"}, document(ACT)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("made_anew", [False, True])
def test_after_a_rotation_it_is_another_file(
    file: LineFile, path: Path, *, made_anew: bool
) -> None:
    file.append(ACT)
    rotated = path.rename(path.with_suffix(".1"))
    if made_anew:
        path.touch(0o600)
    file.look()
    file.append(ODD)

    assert lines(rotated) == [document(ACT)]
    assert lines(path) == [document(ODD)]


def test_half_a_line_of_somebody_who_was_killed_spoils_no_other(file: LineFile, path: Path) -> None:
    path.write_text('{"at": "20')

    file.append(ACT)

    torn, whole = path.read_text().splitlines()
    assert torn == '{"at": "20'
    assert json.loads(whole) == document(ACT)


def test_a_disk_that_takes_half_a_line_is_an_error_and_the_next_line_is_whole(
    file: LineFile, path: Path
) -> None:
    file.append(ACT)
    with no_file_grows(room=path.stat().st_size + 10), pytest.raises(OSError, match="space"):
        file.append(ODD)

    file.append(ODD)

    first, torn, last = path.read_text().splitlines()
    assert json.loads(first) == document(ACT)
    assert len(torn) == 10
    assert json.loads(last) == document(ODD)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_a_plain_file_is_written_to(file: LineFile, path: Path, kind: str) -> None:
    """Else a link in a folder of the service's would send what root writes to another file."""
    if kind == "link":
        path.symlink_to("elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    with pytest.raises(OSError, match=r"links|regular|directory"):
        file.append(ACT)

    assert not path.with_name("elsewhere").exists()


_APPEND = """
from pathlib import Path
from datetime import UTC, datetime
from lalepass_service.adapters.jsonlines import LineFile
from lalepass_service.core.audit import Actor, Event

def work(path):
    act = Actor(name="operator:root").act(
        Event.USER_ADDED, at=datetime(2026, 1, 2, tzinfo=UTC), details={"long": "x" * 3000}
    )
    file = LineFile(Path(path))
    for _ in range(300):
        file.append(act)
"""


def test_the_lines_of_several_processes_do_not_mix(path: Path) -> None:
    with Nursery(_APPEND, path) as one, Nursery(_APPEND, path) as other:
        one.begin()
        other.begin()
        one.finish()
        other.finish()

    assert {len(line["details"]["long"]) for line in lines(path)} == {3000}
    assert len(lines(path)) == 600


def test_whoever_takes_an_entry_does_not_touch_the_disk(path: Path) -> None:
    copy = TrailCopy.start(path, seconds=3600)
    for _ in range(1000):
        copy(ACT)
    assert path.stat().st_size == 0

    copy.close()

    assert len(lines(path)) == 1000
    assert (copy.failures, copy.lost) == (0, 0)


async def test_it_is_written_soon(path: Path) -> None:
    with closing(TrailCopy.start(path, seconds=0.01)) as copy:
        copy(ACT)
        await until(lambda: path.stat().st_size > 0)

        rotated = path.rename(path.with_suffix(".1"))
        copy(ODD)
        await until(path.exists)
        await until(lambda: path.stat().st_size > 0)

    assert lines(rotated) == [document(ACT)]
    assert lines(path) == [document(ODD)]


async def test_what_can_not_be_written_waits_in_order_and_is_said_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    entries = [replace(ACT, request_id=str(number)) for number in range(1200)]
    with closing(TrailCopy.start(path, seconds=0.01)) as copy:
        path.unlink()
        path.mkdir()
        for entry in entries:
            copy(entry)
        await until(lambda: copy.failures >= 3)
        path.rmdir()
        await until(lambda: path.exists() and len(path.read_text().splitlines()) == 1200)

    assert lines(path) == [document(entry) for entry in entries]
    assert copy.lost == 0
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"the copy of the trail in {path} can't be written: [Errno 21] Is a directory: '{path}'",
        f"the copy of the trail in {path} is written again",
    ]


def test_memory_is_bounded_and_what_is_lost_is_counted(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = TrailCopy.start(path, seconds=3600)
    path.unlink()
    path.mkdir()
    for _ in range(20_005):
        copy(ACT)
    assert copy.lost == 5

    copy.close()

    assert copy.lost == 20_005
    assert "20000 entries of the trail could not be copied" in caplog.text


def test_a_file_that_can_not_be_opened_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        TrailCopy.start(tmp_path / "none" / "trail.jsonl")
