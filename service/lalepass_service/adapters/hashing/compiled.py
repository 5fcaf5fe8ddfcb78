"""The reference implementation of Argon2, compiled for newer processors, and a look at it.

`service/native/build.sh` makes the library. What no other process depends on tries it first:

    python -I -S compiled.py LIBRARY LEVEL

Exit codes: 0 it computes what it should, `UNSUPPORTED` this processor lacks something. A library
that has an instruction which the processor does not know ends that process by SIGILL, and no other.
Nothing but the standard library is imported, for it runs at each start.
"""

import ctypes
import sys
from contextlib import suppress
from typing import Final

LEVELS: Final = {"avx512": 4, "avx2": 3}
"""Of x86-64, by the name that operators know it by, the faster one first."""

OK: Final = 0
NO_MEMORY: Final = -22
MISMATCH: Final = -35
"""From argon2.h."""

UNSUPPORTED: Final = 3
WRONG: Final = 4

_VERSION: Final = 0x13
_ARGON2ID: Final = 2
_HASH_OCTETS: Final = 32
_RECORD_OCTETS: Final = 256

_PASSWORD: Final = b"correct horse"
_SALT: Final = bytes.fromhex("b8b56338c6c2d9a74a5ec663de4e52e1")
_RECORDS: Final = (
    b"$argon2id$v=19$m=19456,t=2,p=1$uLVjOMbC2adKXsZj3k5S4Q$yMu0oLJsVV18U9thiPO76UP6zr4JzVLosLjztpIHyxc",
    b"$argon2id$v=19$m=19456,t=2,p=4$RMmISSOaZNPu7eA6NpSpng$flt7KewfC1QAUNM5nv29hmhCXNkP6k0J4YWRvKgJGoc",
    b"$argon2id$v=19$m=64,t=1,p=1$8co9tyEtc0Y$hVZwQvfmH+BA8XMugezhlA",
)
"""Made by argon2-cffi 25.1.0 of that password; the first of them with that salt."""


class Unsupported(Exception):
    """The processor, or its system, can't do what the level needs."""


class Library:
    """The functions. They let go of the GIL. One level a process: it is the library's, not ours."""

    def __init__(self, path: str, *, level: int) -> None:
        """Load it, without running anything that the processor may not know.

        Raises:
            OSError: there is no such library, or it is for another machine.
            AttributeError: it is another library.
            Unsupported: the processor can't do this level.
        """
        functions = ctypes.CDLL(path)
        if functions.lalepass_choose(level) != 0:
            raise Unsupported
        self._verify = functions.argon2id_verify
        self._verify.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
        self._hash = functions.argon2_hash
        self._hash.argtypes = (
            *(ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32),  # iterations, KiB, lanes
            *(ctypes.c_char_p, ctypes.c_size_t),  # password
            *(ctypes.c_char_p, ctypes.c_size_t),  # salt
            *(ctypes.c_void_p, ctypes.c_size_t),  # hash, raw
            *(ctypes.c_char_p, ctypes.c_size_t),  # record
            *(ctypes.c_int, ctypes.c_uint32),  # kind, version
        )
        self._keep = ctypes.c_size_t.in_dll(functions, "lalepass_keep")

    def keep(self, memory_kib: int) -> None:
        """Say how much memory a thread may keep from one hash to the next, wiped in between."""
        self._keep.value = memory_kib * 1024

    def verify(self, octets: bytes, *, phc: bytes) -> int:
        """Return OK, MISMATCH, NO_MEMORY, or another code if the record can't be read."""
        code: int = self._verify(phc, octets, len(octets))
        return code

    def hash(
        self, octets: bytes, *, salt: bytes, memory_kib: int, iterations: int
    ) -> tuple[int, bytes]:
        """Return a code, and a record if that is OK."""
        record = ctypes.create_string_buffer(_RECORD_OCTETS)
        password, salted = (octets, len(octets)), (salt, len(salt))
        out = (None, _HASH_OCTETS, record, _RECORD_OCTETS)
        costs = (iterations, memory_kib, 1)
        code: int = self._hash(*costs, *password, *salted, *out, _ARGON2ID, _VERSION)
        return code, record.value


def computes(library: Library) -> bool:
    """Say whether known records are made and verified, and wrong passwords are refused."""
    made = library.hash(_PASSWORD, salt=_SALT, memory_kib=19456, iterations=2)
    return made == (OK, _RECORDS[0]) and all(
        library.verify(_PASSWORD, phc=record) == OK
        and library.verify(_PASSWORD + b"\0", phc=record) == MISMATCH
        for record in _RECORDS
    )


def main() -> int:
    """Try one level of a library and return the exit code."""
    # The one who crashes on purpose leaves no core file. There are no limits where Windows is.
    with suppress(ImportError):
        import resource  # noqa: PLC0415 - see above

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        library = Library(sys.argv[1], level=int(sys.argv[2]))
    except Unsupported:
        return UNSUPPORTED
    return OK if computes(library) else WRONG


if __name__ == "__main__":
    sys.exit(main())
