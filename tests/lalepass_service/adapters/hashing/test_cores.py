from pathlib import Path

import pytest

from lalepass_service.adapters.hashing import usable_cores

V2 = {"proc/self/cgroup": "0::/\n"}
V1 = {"proc/self/cgroup": "7:cpuset:/\n4:cpu,cpuacct:/\n2:memory:/\n"}
NESTED_V2 = {"proc/self/cgroup": "0::/system.slice/lalepass.service\n"}
HOST_PATH_V1 = {"proc/self/cgroup": "4:cpu,cpuacct:/docker/0123abcd\n"}


def _v1(quota: int, *, at: str = "cpu") -> dict[str, str]:
    return {
        f"sys/fs/cgroup/{at}/cpu.cfs_quota_us": f"{quota}\n",
        f"sys/fs/cgroup/{at}/cpu.cfs_period_us": "100000\n",
    }


FILES: dict[str, tuple[dict[str, str], int]] = {
    "nothing to read": ({}, 8),
    "rubbish": (V2 | {"sys/fs/cgroup/cpu.max": "\0\0 x\n"}, 8),
    "a period of zero": (V2 | {"sys/fs/cgroup/cpu.max": "100000 0\n"}, 8),
    "v2 without a limit": (V2 | {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
    "v2, three cores": (V2 | {"sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
    "v2, two and a half": (V2 | {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),
    "v2, a tenth": (V2 | {"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
    "v2, more than there are": (V2 | {"sys/fs/cgroup/cpu.max": "6400000 100000\n"}, 8),
    "v2 beside v1": (V2 | {"sys/fs/cgroup/unified/cpu.max": "200000 100000\n"}, 2),
    "v2, the service's own limit": (
        NESTED_V2
        | {"sys/fs/cgroup/system.slice/lalepass.service/cpu.max": "200000 100000\n"}
        | {"sys/fs/cgroup/system.slice/cpu.max": "400000 100000\n"},
        2,
    ),
    "v2, a tighter limit above": (
        NESTED_V2
        | {"sys/fs/cgroup/system.slice/lalepass.service/cpu.max": "max 100000\n"}
        | {"sys/fs/cgroup/system.slice/cpu.max": "400000 100000\n"},
        4,
    ),
    "v2, a path that leads outside": (
        {"proc/self/cgroup": "0::/../../etc\n"} | {"sys/fs/cgroup/cpu.max": "200000 100000\n"},
        2,
    ),
    "v1 without a limit": (V1 | _v1(-1), 8),
    "v1, three and a half": (V1 | _v1(350_000), 3),
    "v1, the mount named in full": (V1 | _v1(200_000, at="cpu,cpuacct"), 2),
    "v1, the host's path inside a container": (HOST_PATH_V1 | _v1(200_000), 2),
}


@pytest.mark.parametrize(("files", "cores"), FILES.values(), ids=FILES)
def test_the_quota_of_the_container_counts(
    tmp_path: Path, files: dict[str, str], cores: int
) -> None:
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    assert usable_cores(root=tmp_path, affinity=8) == cores


def test_the_cores_that_the_process_is_bound_to_count(tmp_path: Path) -> None:
    assert usable_cores(root=tmp_path, affinity=3) == 3


def test_this_machine_has_a_core_to_use() -> None:
    assert usable_cores() >= 1
