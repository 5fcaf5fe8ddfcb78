"""Become another program that ends when its parent does.

    python leash.py PARENT_PID PROGRAM [ARGUMENT ...]

Whoever started a homeserver may be killed without a chance to tidy up. On Linux the kernel then
ends what runs on this leash; elsewhere the program is started without one. A program of its own,
because the alternative, code that runs between fork and exec, is not safe in a threaded parent.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def _hold(parent: int) -> None:
    # SIGKILL and no softer signal: nobody is left to insist if it is not heeded.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("leash: the parent ended before its child began")


if __name__ == "__main__":
    if sys.platform == "linux":
        _hold(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - to become that program is the point
