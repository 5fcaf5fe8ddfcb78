"""What people notice while a part of the profile `scale` is away: what docs/scaling.md says.

`test_losses.py` asserts each cell on the real parts, and `tests/test_docs_scaling.py` that the
document has this table.
"""

from typing import Final

COLUMNS: Final = ("log in", "send", "read it", "upload", "open an old file")
"""A new login; a message; the message arrives at somebody else's; a new file, which is read again
at once; a file whose local copy is deleted."""

YES: Final = "yes"
NO: Final = "no"
"""An error, or no answer within ten seconds."""

_NOTHING: Final = (YES, YES, YES, YES, YES)

AWAY: Final[dict[str, tuple[tuple[str, ...], tuple[str, str, str, str, str]]]] = {
    "one Lalepass": (("lalepass-1",), _NOTHING),
    "both Lalepass": (("lalepass-1", "lalepass-2"), (NO, YES, YES, YES, YES)),
    "`counters`": (("counters",), _NOTHING),
    "the standby": (("postgres-2",), _NOTHING),
    "`replication`": (("replication",), (NO, NO, NO, YES, YES)),
    "a generic worker": (("synapse-generic-1",), _NOTHING),
    "the other generic worker": (("synapse-generic-2",), _NOTHING),
    "both generic workers": (("synapse-generic-1", "synapse-generic-2"), (NO, NO, NO, YES, YES)),
    "`synapse-main`": (("synapse-main",), (NO, NO, NO, YES, YES)),
    "`synapse-media`": (("synapse-media",), (YES, YES, YES, NO, NO)),
    "`synapse-sender`": (("synapse-sender",), _NOTHING),
    "`synapse-background`": (("synapse-background",), _NOTHING),
    "`objects`": (("objects",), (YES, YES, YES, YES, NO)),
    "`proxy`": (("proxy",), (NO, NO, NO, NO, NO)),
}
"""For each row, the services that are killed, and what works then."""


def table() -> str:
    """Return it as the document has it."""
    head = f"| away | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}\n"
    return head + "".join(f"| {row} | {' | '.join(said)} |\n" for row, (_, said) in AWAY.items())
