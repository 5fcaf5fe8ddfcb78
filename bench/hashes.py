"""What one hash takes, for each binding that there is here, in turns. Prints JSON.

    python -m bench.hashes ROUNDS
    docker run --rm --interactive --entrypoint python IMAGE - ROUNDS < bench/hashes.py

It needs nothing but the service and what that is installed with, so that it runs in an image.
Figures are milliseconds of processor time of one hash, a list with one for each round: with one
thread, and with two at a time.
"""

import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from argon2.low_level import Type, verify_secret

from lalepass_service.adapters.hashing import NoSuchBinding, choose, compiled
from lalepass_service.adapters.hashing.bindings import Binding, Sodium
from lalepass_service.adapters.hashing.choice import LIBRARY

WHEEL: Final = "argon2-cffi"
_MEMORY_KIB: Final = 19456
_PASSWORD: Final = b"correct horse"
_TURN: Final = 10

Figures = dict[str, dict[str, list[float]]]


def verifiers(phc: bytes, folder: Path) -> Mapping[str, Callable[[], object]]:
    """Return what verifies, by name: the wheel, libsodium, and what is compiled for it."""
    bindings: list[Binding] = [Sodium()]
    for name in reversed(compiled.LEVELS):
        try:
            bindings.append(_own(name, folder))
        except NoSuchBinding as why:
            print(f"left out: {why}", file=sys.stderr)

    def one(binding: Binding) -> Callable[[], object]:
        return lambda: binding.verify(_PASSWORD, phc=phc)

    wheel = {WHEEL: lambda: verify_secret(phc, _PASSWORD, Type.ID)}
    return {**wheel, **{binding.name: one(binding) for binding in bindings}}


def _own(name: str, folder: Path) -> Binding:
    """Return a binding with a library to itself: the level is the library's."""
    copy = folder / f"{name}.so"
    if LIBRARY.exists():
        shutil.copy(LIBRARY, copy)
    return choose(name, memory_kib=_MEMORY_KIB, library=copy)


def turn(verify: Callable[[], object]) -> float:
    """Return the milliseconds of one hash on this thread, of processor time."""
    began = time.thread_time()
    for _ in range(_TURN):
        verify()
    return 1000 * (time.thread_time() - began) / _TURN


def turn_of_two(verify: Callable[[], object]) -> float:
    """Return the same with another thread that does as much at the same time."""
    taken: list[float] = []

    def work() -> None:
        # What a thread keeps for its next hash is not there at its first.
        verify()
        taken.append(turn(verify))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(taken) / len(taken)


def measure(rounds: int) -> Figures:
    """Take turns."""
    phc = Sodium().make(_PASSWORD, memory_kib=_MEMORY_KIB, iterations=2)
    with tempfile.TemporaryDirectory() as folder:
        found = verifiers(phc, Path(folder))
        figures: Figures = {name: {"one": [], "two": []} for name in found}
        for _ in range(rounds):
            for name, verify in found.items():
                figures[name]["one"].append(turn(verify))
            for name, verify in found.items():
                figures[name]["two"].append(turn_of_two(verify))
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
