"""Files that hold secrets."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lalepass_service.faults import OutsideFault


@contextmanager
def new_private_file(path: Path) -> Iterator[TextIO]:
    """Make a file that only its owner can read; an existing one is never touched.

    If the body fails the file is removed.

    Raises:
        OutsideFault: it is there already.
        OSError: it can't be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise _is_there(path) from error
    try:
        with naming(path), os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            yield opened
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def make_private_file(path: Path, text: str) -> None:
    """Make a file that only its owner can read, with all of its text or not at all.

    Also when the machine loses power meanwhile. An existing one is never touched.

    Raises:
        OutsideFault: it is there already.
        OSError: it can't be made.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with new_private_file(unfinished) as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
        if os.path.lexists(path):
            raise _is_there(path)
        unfinished.replace(path)
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_there(path: Path) -> OutsideFault:
    return OutsideFault(f"{path} is there already: choose another name, or remove it first")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say which file was meant where the system does not, as when a write fails."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
