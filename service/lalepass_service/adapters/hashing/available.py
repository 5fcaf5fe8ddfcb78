"""How much memory this process may still take."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lalepass_service.adapters.hashing.groups import text, upwards
from lalepass_service.adapters.hashing.kinds import MAX_ARGON2_MEMORY_KIB

_FOREIGN_SHARE: Final = 4
"""A quarter: half is what `calibration` gives to hashes of ours."""


def foreign_memory_kib(available_kib: int | None) -> int:
    """Return what records of others may take together above what ours would in their place, in KiB.

    Never less than the dearest of them takes: one at a time is always verified, or people who are
    moved here from elsewhere could never come in.

    Args:
        available_kib: what there is, if anybody knows.
    """
    return max(MAX_ARGON2_MEMORY_KIB, (available_kib or 0) // _FOREIGN_SHARE)


def available_memory_kib(*, root: Path = Path("/")) -> int | None:
    """Return what the machine and every control group above this process have left, in KiB.

    None where the system does not say: then nobody knows.

    Args:
        root: where `proc` and `sys` are; other than `/` in tests.
    """
    left = [*_of_machine(root), *_of_groups(root)]
    return max(0, min(left)) if left else None


def _of_machine(root: Path) -> Iterator[int]:
    for line in text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        number = value.removesuffix("kB").strip()
        if name == "MemAvailable" and number.isdecimal():
            yield int(number)


def _of_groups(root: Path) -> Iterator[int]:
    mounts = root / "sys/fs/cgroup"
    for line in text(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:
            # version 2, or both versions side by side
            for mount in (mounts, mounts / "unified"):
                for group in upwards(mount, path):
                    yield from _left(group, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            for group in upwards(mounts / "memory", path):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                yield from _left(group, *names)


def _left(group: Path, limit: str, used: str, cache: str) -> Iterator[int]:
    """Yield what a group may still take; nothing if it has no limit.

    Files that were read count as used, and are given up when the memory is needed.
    """
    allowed, taken = text(group / limit), text(group / used)
    if allowed.isdecimal() and taken.isdecimal():
        lines = (line.partition(" ") for line in text(group / "memory.stat").splitlines())
        given_up = sum(int(size) for name, _, size in lines if name == cache and size.isdecimal())
        yield (int(allowed) - int(taken) + given_up) // 1024
