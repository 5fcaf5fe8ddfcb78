"""Disks that are full, or may only be read."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.lalepass_service.adapters.sql.faults import no_file_grows

_SIZE = "4m"


@cache
def _may_mount(folder: Path) -> bool:
    if _mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)) != 0:
        return False
    _unmount(folder)
    return True


def _mount(*arguments: str) -> int:
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        return -1
    return subprocess.run([mount, *arguments], capture_output=True, check=False).returncode


def _unmount(folder: Path) -> None:
    umount = shutil.which("umount")
    assert umount is not None
    # Lazily: what was opened and not closed by then would be this test's second mistake.
    subprocess.run([umount, "--lazy", str(folder)], capture_output=True, check=True)


@dataclass(frozen=True)
class Disk:
    """A small file system. Where none may be mounted, a limit of the process stands for it."""

    path: Path
    real: bool

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room on it."""
        if not self.real:
            with no_file_grows():
                yield
            return
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass
        try:
            yield
        finally:
            filler.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nothing be written to it."""
        if not self.real:
            with no_file_grows():
                yield
            return
        assert _mount("-o", "remount,ro", str(self.path)) == 0
        try:
            yield
        finally:
            assert _mount("-o", "remount,rw", str(self.path)) == 0


@contextmanager
def disk(path: Path) -> Iterator[Disk]:
    """Make a small disk, and have it mounted at an empty folder."""
    path.mkdir()
    real = _may_mount(path)
    if not real:
        yield Disk(path, real=False)
        return
    assert _mount("-t", "tmpfs", "-o", f"size={_SIZE},mode=700", "tmpfs", str(path)) == 0
    try:
        yield Disk(path, real=True)
    finally:
        _unmount(path)
