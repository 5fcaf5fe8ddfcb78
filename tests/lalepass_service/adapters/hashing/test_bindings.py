"""What holds for every binding alike, and what only the compiled one has."""

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import argon2.low_level
import pytest

from lalepass_service.adapters.hashing import compiled
from lalepass_service.adapters.hashing.bindings import Binding
from lalepass_service.core.errors import UnreadableRecord
from tests.lalepass_service.adapters.hashing.compiling import BINDINGS, binding_of

OCTETS = "M\u00fcller's \0 horse".encode()


@pytest.fixture(params=BINDINGS)
def binding(request: pytest.FixtureRequest) -> Binding:
    return binding_of(request.param)


@pytest.mark.parametrize("other", BINDINGS)
def test_a_record_of_one_is_right_for_every_other(binding: Binding, other: str) -> None:
    phc = binding.make(OCTETS, memory_kib=19456, iterations=2)

    assert phc.startswith(b"$argon2id$v=19$m=19456,t=2,p=1$")
    assert [len(part) for part in phc.split(b"$")[-2:]] == [22, 43]
    assert binding_of(other).verify(OCTETS, phc=phc)
    assert not binding_of(other).verify(OCTETS[:-1], phc=phc)
    assert not binding_of(other).verify(OCTETS + b"\0", phc=phc)


def test_what_the_reference_makes_is_verified_whatever_its_costs(binding: Binding) -> None:
    chance = random.Random(9106)  # noqa: S311 - the same costs each time
    for _ in range(300):
        lanes = chance.choice([1, 1, 1, 2, 3, 4])
        memory = chance.choice([8 * lanes, chance.randint(8 * lanes, 99), chance.randint(99, 3000)])
        iterations = chance.randint(1, 4)
        octets = chance.randbytes(chance.randint(0, 70))
        phc = argon2.low_level.hash_secret(
            octets,
            chance.randbytes(chance.randint(8, 32)),
            iterations,
            memory,
            lanes,
            chance.randint(16, 32),
            argon2.low_level.Type.ID,
        )
        assert binding.verify(octets, phc=phc), phc
        assert not binding.verify(octets + b"x", phc=phc), phc


def test_a_record_that_can_not_be_read_is_no_refusal(binding: Binding) -> None:
    whole = binding.make(OCTETS, memory_kib=19456, iterations=2)
    for broken in (b"$argon2id$", whole[:-1] + b"=", whole[:-2], whole[:40]):
        with pytest.raises(UnreadableRecord):
            binding.verify(OCTETS, phc=broken)


def test_threads_do_not_disturb_one_another(binding: Binding) -> None:
    phc = binding.make(OCTETS, memory_kib=19456, iterations=2)
    answers: list[tuple[bool, bool]] = []

    def work() -> None:
        for memory in (19456, 64, 40000, 19456):
            own = binding.make(OCTETS, memory_kib=memory, iterations=2)
            answers.append((binding.verify(OCTETS, phc=own), binding.verify(b"wrong", phc=phc)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [(True, False)] * 16


_MEMORY = """
import json, os, re, sys, threading, time
from pathlib import Path
from lalepass_service.adapters.hashing import compiled

library = compiled.Library(sys.argv[1], level=int(sys.argv[2]))
library.keep(19456)
word = ("M" * 3 + "horse").encode() * 8

def held():
    # The pages of a hash: what is mapped by nobody's file, in one piece, and in memory.
    found = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ rw-p", line):
            where = tuple(int(each, 16) for each in line.split()[0].split("-"))
        elif line.startswith("Rss:") and int(line.split()[1]) > 15000:
            found.append(where)
    return found

def octets_left():
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        total = 0
        for start, end in held():
            memory.seek(start)
            content = memory.read(end - start)
            total += len(content) - content.count(0)
        return total

def faults():
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[7])

def hash(memory):
    code, record = library.hash(word, salt=b"s" * 16, memory_kib=memory, iterations=2)
    assert code == 0

said = {}
hash(19456)
said["held"] = len(held())
said["left"] = octets_left()
before = faults()
for _ in range(10):
    hash(19456)
said["faults"] = (faults() - before) / 10
hash(60000)
said["after a larger one"] = len(held())
thread = threading.Thread(target=hash, args=(19456,))
thread.start()
thread.join()
# Python says that it has ended a moment before the system does.
end = time.monotonic() + 20
while held() and time.monotonic() < end:
    threading.Event().wait(0.01)
said["after a thread"] = len(held())
print(json.dumps(said))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at memory in Linux's way")
@pytest.mark.parametrize("name", [name for name in BINDINGS if name in compiled.LEVELS])
def test_memory_is_kept_wiped_and_given_back(name: str) -> None:
    binding_of(name)
    from tools import native  # noqa: PLC0415 - binding_of has left the test out where it is missing

    level = compiled.LEVELS[name]
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(native.library_for(level)), str(level)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    said = json.loads(done.stdout)

    assert said["held"] == 1
    assert said["left"] == 0
    assert said["faults"] < 100  # 4864 if it came anew from the system
    assert said["after a larger one"] == 0
    assert said["after a thread"] == 0


def test_the_self_test_knows_the_records_of_the_reference() -> None:
    source = Path(compiled.__file__).read_text(encoding="utf-8")

    assert source.count("$argon2id$v=19") == 3
    assert all(
        argon2.PasswordHasher().verify(record, "correct horse")
        for record in source.split('"')
        if record.startswith("$argon2id$")
    )
