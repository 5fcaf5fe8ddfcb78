from pathlib import Path

import pytest

from lalepass_service.adapters.hashing.available import (
    available_memory_kib,
    foreign_memory_kib,
)

MACHINE = {"proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\n"}
V2 = MACHINE | {"proc/self/cgroup": "0::/system.slice/lalepass.service\n"}
V1 = MACHINE | {"proc/self/cgroup": "9:memory:/docker/0123\n4:cpu,cpuacct:/\n"}
GROUP = "sys/fs/cgroup/system.slice/lalepass.service"


def v2(limit: str, used: int, cache: int = 0, *, at: str = GROUP) -> dict[str, str]:
    return {
        f"{at}/memory.max": f"{limit}\n",
        f"{at}/memory.current": f"{used}\n",
        f"{at}/memory.stat": f"anon 5\ninactive_file {cache}\nactive_file 7\n",
    }


FILES: dict[str, tuple[dict[str, str], int | None]] = {
    "nothing to read": ({}, None),
    "rubbish": ({"proc/meminfo": "MemAvailable: much\n\n:"}, None),
    "no groups": (MACHINE, 8_000_000),
    "v2 without a limit": (V2 | v2("max", 1), 8_000_000),
    "v2, a limit": (V2 | v2("1048576000", 1024000), 1_023_000),
    "v2, a limit and files that were read": (V2 | v2("1048576000", 1024000, 512000), 1_023_500),
    "v2, a tighter limit above": (
        V2 | v2("2048000", 0) | v2("1024000", 0, at="sys/fs/cgroup/system.slice"),
        1000,
    ),
    "v2, more taken than allowed": (V2 | v2("1024", 4096), 0),
    "v2, more allowed than there is": (V2 | v2("99999999999999", 0), 8_000_000),
    "v1, the host's path inside a container": (
        V1
        | {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "4096000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1024000\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 512000\n",
        },
        3500,
    ),
    "v1 without a limit": (
        V1
        | {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1024000\n",
        },
        8_000_000,
    ),
}


@pytest.mark.parametrize(("files", "expected"), FILES.values(), ids=FILES)
def test_the_limits_of_the_container_count(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    assert available_memory_kib(root=tmp_path) == expected


@pytest.mark.parametrize(
    ("available", "expected"),
    [(None, 262_144), (0, 262_144), (1_048_576, 262_144), (1_048_584, 262_146), (8 << 20, 2 << 20)],
)
def test_records_of_others_may_take_a_quarter_and_one_can_always_be_verified(
    available: int | None, expected: int
) -> None:
    assert foreign_memory_kib(available) == expected
