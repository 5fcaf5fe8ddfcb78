"""When the file is written: soon, not all the time, and at the end."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from synapse.util.async_helpers import delay_cancellation
from twisted.internet import defer

from lalepass_provider import keeping
from lalepass_provider.keeping import StateKeeper
from lalepass_provider.locks import Knowledge
from lalepass_provider.state import load
from tests.lalepass_provider.fakes_lifecycle import FakeBackground

T = TypeVar("T")


class SlowDisk(FakeBackground):
    """Its threads get on when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[Callable[[], None]] = []

    async def in_thread(self, work: Callable[[], T]) -> T:
        done: defer.Deferred[T] = defer.Deferred()

        def run() -> None:
            defer.maybeDeferred(work).chainDeferred(done)

        self.threads.append(run)
        return await delay_cancellation(done)

    def let_go(self) -> None:
        threads, self.threads = self.threads, []
        for run in threads:
            run()


class NoThread(FakeBackground):
    """Has no thread left for a while."""

    left = 0

    async def in_thread(self, work: Callable[[], T]) -> T:
        if not self.left:
            raise RuntimeError("can't start new thread")
        return work()


class Keeping:
    def __init__(
        self,
        path: Path,
        *,
        server_name: str = "hs.example",
        background: FakeBackground | None = None,
    ) -> None:
        self.path = path
        self.background = background or FakeBackground()
        self.knowledge = Knowledge()
        self.keeper = StateKeeper(
            path=path,
            server_name=server_name,
            knowledge=self.knowledge,
            background=self.background,
        )

    def lock(self, name: str) -> None:
        self.knowledge.locked.add(name)
        self.keeper.changed()

    def written(self) -> int | None:
        """How many names are in the file."""
        state = load(self.path, server_name="hs.example")
        return None if state is None else len(state.locked())


@pytest.fixture
def it(tmp_path: Path) -> Keeping:
    it = Keeping(tmp_path / "locked")
    it.knowledge.cursor = "db1-1"
    return it


def test_another_process_finds_what_one_has_kept(it: Keeping) -> None:
    it.keeper.remember(lambda: ("o1",))
    it.lock("bob")
    it.background.turn(1)

    another = Keeping(it.path)

    assert another.keeper.load() == ("o1",)
    assert "bob" in another.knowledge.locked
    assert another.knowledge.cursor == "db1-1"


def test_changes_in_quick_succession_are_written_together(it: Keeping) -> None:
    for number in range(10):
        it.lock(f"n{number}")
    assert it.written() is None

    it.background.turn(1)
    assert it.written() == 10

    it.lock("one.more")
    it.background.turn(2)
    assert it.written() == 10
    for _ in range(5):
        it.background.turn(1)
    assert it.written() == 11


def test_nothing_is_written_while_nothing_is_known(it: Keeping) -> None:
    it.knowledge.cursor = None
    it.lock("bob")
    it.background.turn(1)

    assert it.written() is None


def test_at_the_end_the_rest_is_written(it: Keeping) -> None:
    it.lock("bob")

    it.background.do(it.keeper.end())

    assert it.written() == 1


def test_at_the_end_nothing_is_written_if_nothing_has_changed(it: Keeping) -> None:
    it.background.do(it.keeper.end())

    assert it.written() is None


def begin(work: Any) -> "defer.Deferred[None]":
    return defer.ensureDeferred(work)


def test_of_two_at_once_the_newer_one_is_what_the_file_holds(tmp_path: Path) -> None:
    disk = SlowDisk()
    it = Keeping(tmp_path / "locked", background=disk)
    it.knowledge.cursor = "db1-1"
    it.knowledge.locked.add("alice")
    older = begin(it.keeper.save())
    it.knowledge.locked.add("bob")
    newer = begin(it.keeper.save())

    for thread in reversed(disk.threads):
        thread()

    assert older.called
    assert newer.called
    assert it.written() == 2


def test_an_older_one_is_good_enough_until_the_newer_can_be_written(tmp_path: Path) -> None:
    disk = SlowDisk()
    it = Keeping(tmp_path / "later" / "locked", background=disk)
    it.knowledge.cursor = "db1-1"
    it.knowledge.locked.add("alice")
    begin(it.keeper.save())
    it.knowledge.locked.add("bob")
    begin(it.keeper.save())
    older, newer = disk.threads

    newer()
    it.path.parent.mkdir()
    older()
    assert it.written() == 1

    begin(it.keeper.end())
    disk.threads[-1]()
    assert it.written() == 2


def test_the_end_waits_for_what_is_being_written(tmp_path: Path) -> None:
    disk = SlowDisk()
    it = Keeping(tmp_path / "locked", background=disk)
    it.knowledge.cursor = "db1-1"
    begin(it.keeper.save())

    end = begin(it.keeper.end())
    assert not end.called
    for thread in disk.threads:
        thread()
    assert end.called


def test_the_file_is_written_by_one_thread_at_a_time(
    it: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, overlaps = threading.Semaphore(1), []

    def save(path: Path, content: bytes) -> None:
        if not at_work.acquire(blocking=False):
            overlaps.append(path)
        pause.wait(0.02)
        at_work.release()
        assert content

    pause = threading.Event()
    monkeypatch.setattr(keeping, "save", save)
    disk = SlowDisk()
    it = Keeping(it.path, background=disk)
    it.knowledge.cursor = "db1-1"
    for _ in range(3):
        begin(it.keeper.save())
    threads = [threading.Thread(target=run) for run in disk.threads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert overlaps == []


def test_a_folder_that_is_not_there_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    it = Keeping(tmp_path / "later" / "locked")
    it.knowledge.cursor = "db1-1"
    it.lock("bob")
    for _ in range(3):
        it.background.turn(1)
        it.background.turn(60)
    assert caplog.text.count("can't be written") == 1

    it.path.parent.mkdir()
    it.background.turn(1)
    it.background.turn(60)
    assert it.written() == 1


def test_a_disk_that_hangs_holds_nobody_up_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The orders to sign out are noted here."""
    disk = SlowDisk()
    it = Keeping(tmp_path / "locked", background=disk)
    it.knowledge.cursor = "db1-1"
    saved: Any = begin(it.keeper.save())
    disk.turn(4.9)
    assert not saved.called

    disk.turn(0.2)
    assert saved.called
    assert caplog.text.count("the disk has not answered in 5 s") == 1

    # However often it is tried, no more threads wait there than three.
    it.knowledge.locked.add("bob")
    for _ in range(20):
        begin(it.keeper.save())
        disk.turn(60)
    assert len(disk.threads) == 3
    assert caplog.text.count("can't be written") == 1

    disk.let_go()
    for _ in range(3):
        disk.turn(60)
        disk.let_go()
    assert it.written() == 1


def test_a_process_without_threads_goes_on_and_writes_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine = NoThread()
    it = Keeping(tmp_path / "locked", background=machine)
    it.knowledge.cursor = "db1-1"
    it.lock("bob")
    machine.turn(1)
    assert "can't start new thread" in caplog.text

    machine.left = 1
    machine.turn(60)
    machine.turn(1)
    assert it.written() == 1
    assert machine.failures == []


def test_a_file_that_can_not_be_used_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    it = Keeping(tmp_path / "locked")
    it.path.write_bytes(b"something else")

    with caplog.at_level(logging.ERROR):
        assert it.keeper.load() == ()

    assert it.knowledge.cursor is None
    assert "is not used" in caplog.text
    assert "damaged" in caplog.text


def test_no_file_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    it = Keeping(tmp_path / "locked")

    with caplog.at_level(logging.INFO):
        assert it.keeper.load() == ()

    assert caplog.text == ""
