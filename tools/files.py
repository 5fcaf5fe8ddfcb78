"""Files that only their owner may read, replaced as a whole or not at all."""

import os
from pathlib import Path
from typing import Final

_OWNER_ONLY: Final = 0o600


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600. A reader sees the old text or the new one, never a half."""
    half_made = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    # The mode is given at creation: a chmod afterwards would leave a moment for others to read.
    descriptor = os.open(half_made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    half_made.replace(path)


def keep_private(path: Path, text: str) -> str:
    """Return what the file holds, and make it with `text` if it is not there yet."""
    if not path.exists():
        write_private(path, text)
    return path.read_text(encoding="utf-8")


def last_lines(path: Path, count: int) -> str:
    """Return the end of a text file, empty if there is none.

    Reads the last 64 KiB only: the log of a homeserver at DEBUG can be large.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-count:])
