"""One process at a time. The standard library only, for tools/setup.py needs it."""

import fcntl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


class Taken(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, waiting: AbstractContextManager[None] | None = None) -> Iterator[None]:
    """Hold a lock on a file, which is made if it is not there.

    With `waiting`, which is entered as long as that takes, it waits for whoever holds the lock.

    Raises:
        Taken: another process holds it, and there is no `waiting`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The kernel gives the lock back however its holder ends, so a stale one can't be.
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise Taken from None
            with waiting:
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
