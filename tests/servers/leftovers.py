"""What a server leaves behind that was killed, and what a test run does that was."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

_TIMEOUT: Final = 10.0
_SEGMENT_LINE: Final = 6


def remove_segment(data: Path) -> None:
    """Remove the shared memory of a PostgreSQL that was killed. Nothing if it was not.

    The next start would do so, but there may be none. `data` has its files.
    """
    with suppress(OSError, IndexError):
        # the seventh line has its key and its id (miscadmin.h)
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        subprocess.run(
            ["ipcrm", "-m", lines[_SEGMENT_LINE].split()[1]],  # noqa: S607 - wherever it is
            check=False,
            capture_output=True,
            timeout=_TIMEOUT,
        )


def folder_prefix(name: str, *, owner: int) -> str:
    """Return how the name of a folder begins that belongs to the process `owner`."""
    return f"lalepass-{name}-{owner}-"


def tidy(place: Path) -> None:
    """Remove the folders there whose owner is gone, and so was killed."""
    for folder in place.glob("lalepass-*-*-*"):
        owner = folder.name.split("-")[2]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            # Somebody else may be doing the same.
            with suppress(OSError):
                for data in folder.iterdir():
                    remove_segment(data)
            shutil.rmtree(folder, ignore_errors=True)
