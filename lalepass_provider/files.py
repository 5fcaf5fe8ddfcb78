"""Small files that an operator may change while the homeserver runs: tokens and certificates."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_MAX_BYTES: Final = 1024 * 1024
_EVERY_SECONDS: Final = 1.0
"""How often the files are looked at: a few microseconds each time."""

_Signature = tuple[tuple[int, int, int] | None, ...]


class FileFault(Exception):
    """A file can't be read, or does not hold what it should. Its contents are not in the text."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class Held(Protocol[T_co]):
    """A value that may change."""

    @property
    def version(self) -> int:
        """Another number after each change."""
        ...

    def current(self) -> T_co:
        """Return the value."""
        ...

    def look_again(self) -> bool:
        """Read now what there is, and say whether the value is another one."""
        ...


class Fixed(Generic[T]):
    """A value that does not."""

    version: Final = 0

    def __init__(self, value: T) -> None:
        self._value = value

    def current(self) -> T:
        """Return the value."""
        return self._value

    def look_again(self) -> bool:
        """There is nothing to look at."""
        return False


class Watched(Generic[T]):
    """What some files hold together. Read again when they have changed.

    Files that are half written, or of which one is newer than the other, leave the old value in
    force. That is logged once for each state of the files.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        parse: Callable[[Sequence[bytes]], T],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files.

        Args:
            paths: the files.
            parse: gets their contents in this order; raises ValueError or FileFault, in words
                without any of the contents.
            clock: seconds.

        Raises:
            FileFault: a file can't be read or makes no sense.
        """
        self._paths = tuple(paths)
        self._parse = parse
        self._clock = clock
        self._looked = clock()
        self._signature = self._sign()
        self._value = self._read()
        self.version = 0

    def current(self) -> T:
        """Return the value, after a look at the files if the last one is a second ago."""
        now = self._clock()
        if now - self._looked >= _EVERY_SECONDS:
            self._looked = now
            self.look_again()
        return self._value

    def look_again(self) -> bool:
        """Look at the files now, and say whether the value is another one."""
        # Before they are read: if they change meanwhile, the next look sees it.
        signature = self._sign()
        if signature == self._signature:
            return False
        self._signature = signature
        try:
            self._value = self._read()
        except FileFault as exc:
            logger.error("Keeping what was read before, since %s", exc)  # noqa: TRY400 - the operator needs no traceback
            return False
        self.version += 1
        logger.info("Read again: %s", ", ".join(map(str, self._paths)))
        return True

    def _sign(self) -> _Signature:
        return tuple(_signature(path) for path in self._paths)

    def _read(self) -> T:
        contents = [_contents(path) for path in self._paths]
        try:
            return self._parse(contents)
        except ValueError as exc:
            raise FileFault(self._paths[0], str(exc)) from None


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):  # the second for what can't be a path, such as one with a NUL
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _contents(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise FileFault(path, f"the file can't be read: {exc.strerror}") from None
    except ValueError:
        raise FileFault(path, "no file can have this name") from None
    if len(content) > _MAX_BYTES:
        raise FileFault(path, "the file is far too long")
    return content
