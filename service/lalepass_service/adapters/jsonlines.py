"""A copy of the trail in a file, one JSON object a line, for whatever collects logs.

The table in the database is the trail; the copy is behind it by half a second, and lacks what could
not be written. Several processes append to it at once, the service and each command: a line is one
write to a file that is opened for appending, so that no two of them mix.
"""

import errno
import json
import logging
import os
import stat
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final, Self

from lalepass_service.adapters.owners import give_to_owner_of
from lalepass_service.core.audit import Entry, document

_log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.5
"""How long a line may wait to be written."""

_MAX_WAITING: Final = 20_000
"""While the file can't be written. Beyond that the oldest are lost, and counted."""

_BATCH: Final = 500

_CLOSE_SECONDS: Final = 2.0
"""How long the end of the service waits for a disk that hangs."""

_TORN_SECONDS: Final = 0.2
"""How long a line may end without its end before it is taken for one that nobody will finish. A
write of another process can be seen when half of it is done."""

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
"""Also for reading: whoever was killed may have left half a line, which is to be seen."""


class LineFile:
    """A file to append to. It is opened with the first line, and again when it has been moved.

    Every method may raise OSError. Belongs to one thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._torn = False

    def look(self) -> int:
        """Open the file, unless it is open and still the one that has the name."""
        if self._file is not None and not self._moved(self._file):
            return self._file
        self.close()
        self._file = _open(self.path)
        self._torn = _ends_amid_a_line(self._file)
        return self._file

    def append(self, entry: Entry) -> None:
        """Write an entry: all of its line, or an error.

        A disk that becomes full may take half of it. What comes next begins on a line of its own.
        """
        opened = self.look() if self._file is None else self._file
        line = (json.dumps(document(entry)) + "\n").encode()
        if self._torn:
            line = b"\n" + line
        written = os.write(opened, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _moved(self, opened: int) -> bool:
        try:
            named = self.path.lstat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(named, os.fstat(opened))


class TrailCopy:
    """Copies entries from a thread of its own: nobody waits for it, and it never fails.

    What can't be written waits, and is tried again twice a second.
    """

    def __init__(self, path: Path, *, seconds: float = FLUSH_SECONDS) -> None:
        self._file = LineFile(path)
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="trail copy", daemon=True)
        self.failures = 0
        """How often the file could not be written, since the start."""
        self.lost = 0
        """Entries that are in no copy, since the start."""

    @classmethod
    def start(cls, path: Path, *, seconds: float = FLUSH_SECONDS) -> Self:
        """Open the file and begin.

        Raises:
            OSError: it can't be written.
        """
        copy = cls(path, seconds=seconds)
        copy._file.look()
        copy._thread.start()
        return copy

    def __call__(self, entry: Entry) -> None:
        """Take an entry."""
        with self._lock:
            if len(self._waiting) >= _MAX_WAITING:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(entry)

    def close(self) -> None:
        """Write what is left, and end. A disk that hangs is left behind."""
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            self._try_to_flush()
        self._try_to_flush()
        if self._waiting:
            self.lost += len(self._waiting)
            _log.error("%d entries of the trail could not be copied", len(self._waiting))
        self._file.close()

    def _try_to_flush(self) -> None:
        try:
            while batch := self._next():
                self._write(batch)
        except OSError as error:
            self.failures += 1
            if not self._failing:
                # Once: the metrics say how long it goes on.
                _log.error(
                    "the copy of the trail in %s can't be written: %s", self._file.path, error
                )
            self._failing = True
        else:
            if self._failing:
                _log.info("the copy of the trail in %s is written again", self._file.path)
            self._failing = False

    def _next(self) -> deque[Entry]:
        with self._lock:
            size = min(_BATCH, len(self._waiting))
            return deque(self._waiting.popleft() for _ in range(size))

    def _write(self, batch: deque[Entry]) -> None:
        try:
            self._file.look()
            while batch:
                self._file.append(batch[0])
                batch.popleft()
        finally:
            with self._lock:
                self._waiting.extendleft(reversed(batch))


def _open(path: Path) -> int:
    """Open a file for appending, or make one that is its owner's alone."""
    try:
        opened = os.open(path, _FLAGS)
    except FileNotFoundError:
        opened = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        give_to_owner_of(path.parent, opened)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return opened


def _ends_amid_a_line(opened: int) -> bool:
    """Say whether somebody has left half a line, and is not just writing the rest of it."""
    deadline = time.monotonic() + _TORN_SECONDS
    while (size := os.fstat(opened).st_size) and os.pread(opened, 1, size - 1) != b"\n":
        if time.monotonic() >= deadline:
            return True
        time.sleep(_TORN_SECONDS / 10)  # noqa: TID251 - the fact is in another process
    return False
