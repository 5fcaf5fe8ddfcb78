"""Why `.venv` could not be made, told from what pip, uv and the system say. For tools/setup.py.

Standard library only.
"""

import errno
import re
import sys
from enum import IntEnum
from pathlib import Path
from typing import Final

from tools.files import last_lines

_LOG_LINES: Final = 12


class Code(IntEnum):
    """How setting up ends if it does not succeed."""

    NO_VENV = 4
    NO_NETWORK = 5
    DISK_FULL = 6
    OTHER = 7
    INTERRUPTED = 130


_SENTENCES: Final = {
    Code.DISK_FULL: "The disk is full: make room and run make again.",
    Code.NO_NETWORK: "The package index can't be reached: check the network (or pip's settings for "
    "a proxy or a mirror) and run make again.",
}

# In their own words.
_SAYS_DISK_FULL: Final = re.compile(r"No space left on device|Disk quota exceeded|os error 28\b")
_SAYS_NO_NETWORK: Final = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError"
    r"|Connection (?:error|aborted|refused|reset|broken)|Network is unreachable|No route to host"
    r"|Name or service not known|Temporary failure in name resolution|dns error|tcp connect error"
    r"|error sending request|client error \(Connect\)|Failed to fetch|Request failed after"
)


class Fault(Exception):
    """Setting up is impossible; the message is the one sentence that a person gets."""

    def __init__(self, sentence: str, *, code: Code = Code.OTHER, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.log = log


class CommandFailed(Exception):
    """A step did not succeed; `cause` is the code of the fault that this looks like."""

    def __init__(self, output: str) -> None:
        super().__init__()
        self.cause = _cause(output)

    def fault(self, doing: str, log: Path) -> Fault:
        """Return it as a fault, met at `doing` this; `log` has the rest."""
        sentence = _SENTENCES.get(self.cause, f"Failed at {doing}.")
        return Fault(sentence, code=self.cause, log=log)


def _cause(output: str) -> Code:
    if _SAYS_DISK_FULL.search(output):
        return Code.DISK_FULL
    return Code.NO_NETWORK if _SAYS_NO_NETWORK.search(output) else Code.OTHER


def fault_of_system(error: OSError) -> Fault:
    """Return what the system refused as a fault."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Fault(_SENTENCES[Code.DISK_FULL], code=Code.DISK_FULL)
    return Fault(f"{error.strerror}: {error.filename}.")


def report(fault: Fault) -> int:
    """Tell a person, with the end of the log if there is one, and return the exit code."""
    if fault.log is not None:
        lines = last_lines(fault.log, _LOG_LINES)
        print(f"setup: the end of {fault.log}:\n{lines}\n", file=sys.stderr)
    print(f"setup: {fault}", file=sys.stderr)
    return fault.code
