"""The processes that verify foreign records: what they know, and what happens when they end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from argon2.low_level import Type, hash_secret

from lalepass_service.adapters.hashing import LegacyProcesses
from lalepass_service.adapters.hashing.kinds import MAX_ARGON2_LANES, MAX_ARGON2_MEMORY_KIB
from lalepass_service.adapters.hashing.slots import Slots
from lalepass_service.core.errors import Overloaded, UnreadableRecord
from tests.lalepass_service.adapters.hashing.golden import GOLDEN
from tests.lalepass_service.waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

QUICK = GOLDEN["slappasswd, SSHA"]
# Of nothing; two to the fifteenth rounds take seconds, in which one can do something else.
SLOW = "$2b$15$" + "." * 53
RIGHT = b"correct horse"


@pytest.fixture
def processes() -> Iterator[LegacyProcesses]:
    processes = LegacyProcesses(seconds=120)
    yield processes
    processes.close()


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _address_space(pid: int) -> int:
    """Return how many bytes of it a process has."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _seen_from_outside(pid: int) -> tuple[bytes, set[str]]:
    """Return arguments and environment of a process, and which kinds of files it has open."""
    seen = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    files = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return seen, {name.partition(":")[0] for name in files}


async def _at_work(processes: LegacyProcesses) -> int:
    """Wait until the one process is in the middle of a slow hash, and return it."""
    (pid,) = processes.pids()
    start = _cpu_seconds(pid)
    await until(lambda: _cpu_seconds(pid) > start + 0.1)
    return pid


def test_nothing_is_started_before_it_is_needed(processes: LegacyProcesses) -> None:
    assert not processes.pids()

    assert processes.verify(QUICK, RIGHT)

    assert len(processes.pids()) == 1


def test_a_process_is_used_again(processes: LegacyProcesses) -> None:
    assert processes.verify(QUICK, RIGHT)
    before = processes.pids()
    assert not processes.verify(QUICK, b"wrong")

    assert processes.pids() == before


def test_one_that_has_not_said_right_or_wrong_is_not_used_again(
    processes: LegacyProcesses,
) -> None:
    assert processes.verify(QUICK, RIGHT)
    before = processes.pids()
    with pytest.raises(UnreadableRecord):
        processes.verify("rubbish", RIGHT)

    assert not processes.pids()
    assert processes.verify(QUICK, RIGHT)
    assert not processes.pids() & before
    # It has lived to answer.
    assert processes.lost == {"time": 0, "ended": 0}


async def test_one_killed_at_work_is_no_answer_and_the_next_one_works(
    processes: LegacyProcesses,
) -> None:
    processes.verify(QUICK, RIGHT)
    slow = asyncio.create_task(asyncio.to_thread(processes.verify, SLOW, RIGHT))
    pid = await _at_work(processes)

    os.kill(pid, signal.SIGKILL)

    with pytest.raises(Overloaded):
        await slow
    assert processes.verify(QUICK, RIGHT)
    assert pid not in processes.pids()
    assert processes.lost == {"time": 0, "ended": 1}


async def test_one_killed_while_idle_is_never_noticed(processes: LegacyProcesses) -> None:
    processes.verify(QUICK, RIGHT)
    (pid,) = processes.pids()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: "Z" in Path(f"/proc/{pid}/stat").read_text())

    assert processes.verify(QUICK, RIGHT)
    assert pid not in processes.pids()


def test_what_takes_too_long_is_killed_and_the_next_one_works() -> None:
    impatient = LegacyProcesses(seconds=0.05)
    patient = LegacyProcesses(seconds=60)
    with pytest.raises(UnreadableRecord) as caught:
        impatient.verify(SLOW, RIGHT)

    assert "longer" in str(caught.value)
    assert not impatient.pids()
    assert impatient.lost == {"time": 1, "ended": 0}
    assert patient.verify(QUICK, RIGHT)
    impatient.close()
    patient.close()


async def test_a_kill_leaves_no_process_behind() -> None:
    processes = LegacyProcesses(seconds=60)
    processes.verify(QUICK, RIGHT)
    slow = asyncio.create_task(asyncio.to_thread(processes.verify, SLOW, RIGHT))
    pid = await _at_work(processes)

    processes.close()

    with pytest.raises(Overloaded):
        await slow
    await until(lambda: _gone(pid))
    with pytest.raises(Overloaded):
        processes.verify(QUICK, RIGHT)
    # At the end that is nobody's fault.
    assert processes.lost == {"time": 0, "ended": 0}


async def test_nobody_can_read_the_password_or_the_settings_off_a_process(
    processes: LegacyProcesses, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LALEPASS_SECRET", "canary of the settings")
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)  # noqa: FBT003 - its signature
        slow = asyncio.create_task(asyncio.to_thread(processes.verify, SLOW, b"canary"))
        await until(lambda: len(processes.pids()) == 1)
        pid = await _at_work(processes)
        seen, files = _seen_from_outside(pid)
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(Overloaded):
        await slow

    assert b"canary" not in seen
    assert files == {"pipe", "/dev/null"}


def test_a_process_has_no_more_memory_than_the_dearest_record_needs(
    processes: LegacyProcesses,
) -> None:
    assert processes.verify(QUICK, RIGHT)
    (pid,) = processes.pids()
    limits = Path(f"/proc/{pid}/limits").read_text()

    (memory,) = [line.split()[3] for line in limits.splitlines() if "address space" in line]
    assert int(memory) < 1 << 30
    (core,) = [line.split()[4] for line in limits.splitlines() if "core file" in line]
    assert core == "0"
    dearest = GOLDEN["argon2-cffi, argon2i"].replace("m=64,t=3", "m=262144,t=1")
    assert not processes.verify(dearest, RIGHT)
    dearest = GOLDEN["passlib, scrypt"].replace("ln=10", "ln=18")
    assert not processes.verify(dearest, RIGHT)


def test_the_corner_of_the_bounds_is_verified_and_leaves_room_for_others(
    processes: LegacyProcesses,
) -> None:
    corner = hash_secret(
        RIGHT,
        b"salt" * 4,
        time_cost=1,
        memory_cost=MAX_ARGON2_MEMORY_KIB,
        parallelism=MAX_ARGON2_LANES,
        hash_len=32,
        type=Type.I,
    ).decode()
    other = GOLDEN["passlib, scrypt"].replace("ln=10", "ln=18")

    assert processes.verify(QUICK, RIGHT)
    (pid,) = processes.pids()
    before = _address_space(pid)
    # Several times: threads leave something behind.
    for _ in range(5):
        assert processes.verify(corner, RIGHT)
    assert not processes.verify(corner, b"wrong")
    assert not processes.verify(other, RIGHT)

    # All of it in one process, and none was lost.
    assert processes.pids() == {pid}
    # Stacks have been kept, and no heap of a thread's own, which has 64 MiB.
    assert _address_space(pid) < before + (32 << 20)
    assert processes.lost == {"time": 0, "ended": 0}


_SCARCE = """
import resource, sys
from pathlib import Path
from lalepass_service.adapters.hashing import worker
from lalepass_service.adapters.hashing.verifiers import matches
worker.MEMORY = int(sys.argv[1])
worker.limit_resources()
sys.stdout.write(worker._answer(sys.argv[2], b"correct horse").decode())
"""


@pytest.mark.parametrize(
    "dear",
    [
        GOLDEN["argon2-cffi, argon2i"].replace("m=64,t=3", "m=131072,t=1"),
        # Enough for the table, and not for the stacks of its lanes.
        GOLDEN["argon2-cffi, four lanes"].replace("m=64,t=3,p=4", "m=61440,t=1,p=16"),
        GOLDEN["passlib, scrypt"].replace("ln=10", "ln=17"),
    ],
    ids=["argon2", "threads", "scrypt"],
)
def test_no_memory_is_never_taken_for_a_record_that_cannot_be_read(dear: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _SCARCE, str(64 * 1024 * 1024), dear],
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout == "m"


async def test_it_counts_as_work_and_no_more_is_done_than_there_are_slots(
    processes: LegacyProcesses,
) -> None:
    slots = Slots(count=2, max_waiting=20, deadline=60, expected_duration=0.1, extra_kib=0)
    work = partial(processes.verify, GOLDEN["mkpasswd, bcrypt"], RIGHT)
    tasks = [asyncio.create_task(slots.run(work)) for _ in range(20)]
    await asyncio.sleep(0)

    assert slots.load().busy == 2
    assert all(await asyncio.gather(*tasks))

    assert len(processes.pids()) <= 2
    slots.close()


_SERVICE = """
import sys
from lalepass_service.adapters.hashing import LegacyProcesses
processes = LegacyProcesses(seconds=60)
processes.verify(sys.argv[1], b"")
print(*processes.pids(), flush=True)
processes.verify(sys.argv[2], b"")
"""


async def test_a_process_ends_with_the_service_however_that_ends() -> None:
    service = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        [sys.executable, "-c", _SERVICE, QUICK, SLOW], stdout=subprocess.PIPE, text=True
    )
    assert service.stdout is not None
    with service.stdout as said:
        pid = int(said.readline())
    try:
        start = _cpu_seconds(pid)
        await until(lambda: _cpu_seconds(pid) > start + 0.1)
    finally:
        service.kill()
        service.wait()

    await until(lambda: _gone(pid) or "Z" in Path(f"/proc/{pid}/stat").read_text())
