"""How many files this process may have open: each connection is one."""

import resource
from typing import Final

import structlog

_log: Final = structlog.stdlib.get_logger(__name__)

_OTHERS: Final = 256
"""The databases, keys, lists, foreign workers, and those who are about to be turned away."""


def make_room_for(connections: int) -> None:
    """Raise this process's limit of open files to what so many connections need.

    Many systems begin with 1024 (`ulimit -n`), which is too few for the default: whoever came then
    would be cut off without a word, and keys and certificates could not be read.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < wanted:
        _log.warning(
            "server.max_connections is more than this process may have: raise its limit of open"
            " files (LimitNOFILE in systemd, ulimit -n), or lower the option",
            max_connections=connections,
            open_files=possible,
            wanted=wanted,
        )
