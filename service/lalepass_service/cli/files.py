"""Files that hold secrets."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def new_private_file(path: Path) -> Iterator[TextIO]:
    """Make a file that only its owner can read; an existing one is never touched.

    If the body fails the file is removed.

    Raises:
        OSError: it is there already, or can't be made.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            yield opened
    except BaseException:
        path.unlink(missing_ok=True)
        raise
