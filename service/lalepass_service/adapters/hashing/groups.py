"""Where a process's control groups are, whose limits are those of a container or a service."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def upwards(mount: Path, path: str) -> Iterator[Path]:
    """Yield the group's folder and all above it, up to the mount.

    Seen from inside a container the path may be the host's: then only the mount itself exists,
    and is the container's own group.
    """
    inside = PurePosixPath(*(part for part in path.split("/") if part not in {"", "."}))
    if ".." not in inside.parts:
        yield from (mount / step for step in (inside, *inside.parents) if step.name)
    yield mount


def text(file: Path) -> str:
    """Return what a small file says; nothing if it can't be read."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
