"""The process that verifies foreign records: `python -m lalepass_service.adapters.hashing.worker`.

It can be killed at any moment and loses nothing. It sees one password at a time, has no files, no
database, no settings and no environment, and ends with the service. It reads two lengths, a record
and a password; it writes one letter.
"""

import ctypes
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import BinaryIO, Final

HEAD: Final = struct.Struct(">HH")
"""The lengths of the record and of the password."""

READY: Final = b"+"
RIGHT: Final = b"1"
WRONG: Final = b"0"
UNREADABLE: Final = b"u"
NO_MEMORY: Final = b"m"

MEMORY: Final = 384 * 1024 * 1024
"""On top of what the process has when it is ready: the most expensive record (256 MiB), the stacks
of 16 lanes, and room for what the C library sets aside for threads and keeps."""

STACK: Final = 1024 * 1024
"""Of a lane's thread. It is address space, which `MEMORY` bounds, and what threads have otherwise
is what `ulimit -s` says: 16 times 8 MiB did not fit beside 256. A lane needs a few KiB."""

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Answer until standard input ends."""
    end_with_the_service()
    # Imported here: what decides about the process comes before anything that takes time.
    from lalepass_service.adapters.hashing import verifiers  # noqa: F401, PLC0415 - see above

    limit_resources()
    limit_stacks()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    _write(answers, READY)
    while (request := _read(requests)) is not None:
        _write(answers, _answer(*request))


def end_with_the_service() -> None:
    """Be killed when the service is, also in the middle of a hash; elsewhere, end when it hangs up.

    The kernel means the thread that started this process. Those live as long as the service.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(sys.argv[1]):
            raise SystemExit("the service is gone")


def limit_resources() -> None:
    """Bound what a record can cost that is worse than its costs say, and leave no core file."""
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (0, 0))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def limit_stacks() -> None:
    """Give threads that libraries start from now on a small stack.

    Best effort: a C library that has no such function (it is one of glibc and musl) leaves the
    stacks as they are. Then a record with many lanes may find no room, which is no answer.
    """
    library = ctypes.CDLL(None)
    if sys.platform != "linux" or not hasattr(library, "pthread_setattr_default_np"):
        return
    # Four times what any of them takes for `pthread_attr_t`.
    attributes = ctypes.create_string_buffer(256)
    library.pthread_attr_init(attributes)
    library.pthread_attr_setstacksize(attributes, ctypes.c_size_t(STACK))
    library.pthread_setattr_default_np(attributes)


def _read(requests: BinaryIO) -> tuple[str, bytes] | None:
    head = requests.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    record_length, password_length = HEAD.unpack(head)
    record = requests.read(record_length)
    return record.decode("ascii"), requests.read(password_length)


def _write(answers: BinaryIO, answer: bytes) -> None:
    answers.write(answer)
    answers.flush()


def _answer(record: str, octets: bytes) -> bytes:
    from lalepass_service.adapters.hashing.verifiers import matches  # noqa: PLC0415 - see main

    try:
        return RIGHT if matches(record, octets) else WRONG
    except MemoryError:
        return NO_MEMORY
    except Exception:  # noqa: BLE001 - a library's error about a record may hold the record
        return UNREADABLE


if __name__ == "__main__":
    main()
