"""What this request has asked already, so that it does not ask twice.

When an address is refused, Synapse looks it up among the addresses that it knows itself, and asks
again with the MXID that has it (`handlers/auth.py`, validate_login). For an address that Lalepass
has put there, that would be a second hash for the same no, and in an outage a second wait.
"""

from collections import OrderedDict
from typing import Final

from synapse.logging.context import current_context

_MAX_REQUESTS: Final = 1000
_ANYBODY: Final = "*"


class AskedBefore:
    """Remembers the last requests by identity."""

    def __init__(self) -> None:
        # The request is kept with it: the identity of one that is gone could be given out again.
        self._notes: OrderedDict[int, tuple[object, str]] = OrderedDict()

    def note(self, mxid: str | None = None) -> None:
        """This request needs no answer about the MXID any more; without one, about nobody."""
        request = getattr(current_context(), "request", None)
        if request is None:
            return
        self._notes[id(request)] = (request, mxid or _ANYBODY)
        if len(self._notes) > _MAX_REQUESTS:
            self._notes.popitem(last=False)

    def about(self, mxid: str) -> bool:
        """Say whether this request has its answer about the MXID already."""
        request = getattr(current_context(), "request", None)
        noted = self._notes.get(id(request))
        return noted is not None and noted[0] is request and noted[1] in {mxid, _ANYBODY}
