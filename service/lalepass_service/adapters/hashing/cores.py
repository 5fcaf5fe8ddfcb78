"""How many processor cores this process may really use."""

import os
from collections.abc import Iterator
from pathlib import Path

from lalepass_service.adapters.hashing.groups import text, upwards


def usable_cores(*, root: Path = Path("/"), affinity: int | None = None) -> int:
    """Return the number of whole cores that the scheduler gives this process, at least 1.

    A container sees every core of its host and is throttled once it has used up its share. Hashes
    that run beyond the share do not run faster; they only keep one another waiting. Half a core
    is therefore rounded down.

    Args:
        root: where `proc` and `sys` are; other than `/` in tests.
        affinity: how many cores the process is bound to; asked of the system unless given.
    """
    cores = float(_bound_to() if affinity is None else affinity)
    return max(1, int(min([cores, *_quotas(root)])))


def _bound_to() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield every limit, in cores, on the way from this process's control groups to the top."""
    mounts = root / "sys/fs/cgroup"
    for line in text(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:
            # version 2, or both versions side by side
            for mount in (mounts, mounts / "unified"):
                yield from filter(None, map(_quota_v2, upwards(mount, path)))
        elif "cpu" in controllers.split(","):
            for mount in (mounts / "cpu", mounts / controllers):
                yield from filter(None, map(_quota_v1, upwards(mount, path)))


def _quota_v2(group: Path) -> float | None:
    # "max 100000" or "150000 100000"
    return _ratio(*text(group / "cpu.max").split()[:2])


def _quota_v1(group: Path) -> float | None:
    # the quota is -1 where there is no limit
    return _ratio(text(group / "cpu.cfs_quota_us"), text(group / "cpu.cfs_period_us"))


def _ratio(quota: str = "", period: str = "") -> float | None:
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None
