"""The bindings that this machine can do, for tests that hold for all of them."""

from pathlib import Path
from typing import Final

import pytest

from lalepass_service.adapters.hashing import compiled
from lalepass_service.adapters.hashing.bindings import Binding, Compiled, Sodium
from tools import native

# What x86-64-v3 and v4 are, by the kernel's names: a level may be used only where all are set.
_AVX2: Final = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})
_AVX512: Final = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
FLAGS: Final = {"avx512": _AVX512, "avx2": _AVX2}


def possible() -> tuple[str, ...]:
    """Return the names of what this machine can do, the fastest first."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return (*(name for name, needed in FLAGS.items() if needed <= flags), Sodium.name)


BINDINGS: Final = possible()


def binding_of(name: str) -> Binding:
    """Return a binding by its name; the test is left out where it can't be built."""
    if name == Sodium.name:
        return Sodium()
    level = compiled.LEVELS[name]
    try:
        file = native.library_for(level)
    except native.NotBuilt as why:
        pytest.skip(f"no compiled Argon2: {why}")
    library = compiled.Library(str(file), level=level)
    library.keep(19456)
    return Compiled(name, library)
