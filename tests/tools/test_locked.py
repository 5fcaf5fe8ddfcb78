"""tools.locked: one at a time, and whoever waits is told."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.locked import Taken, locked


def test_a_lock_that_is_taken_is_told(tmp_path: Path) -> None:
    path = tmp_path / "made" / "lock"
    with locked(path), pytest.raises(Taken), locked(path):
        pass


def test_a_lock_is_free_again_however_its_holder_ended(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mistake"), locked(tmp_path / "lock"):
        raise ValueError("mistake")
    with locked(tmp_path / "lock"):
        pass


def test_whoever_waits_is_told_and_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = os.open(path, os.O_CREAT | os.O_WRONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    waited = []

    @contextmanager
    def waiting() -> Iterator[None]:
        waited.append(path)
        os.close(holder)
        yield

    with locked(path, waiting=waiting()):
        assert waited == [path]


def test_nobody_is_told_of_a_wait_that_there_is_not(tmp_path: Path) -> None:
    waited = []

    @contextmanager
    def waiting() -> Iterator[None]:
        waited.append(tmp_path)
        yield

    with locked(tmp_path / "lock", waiting=waiting()):
        assert waited == []
