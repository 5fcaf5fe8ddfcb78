"""Which of the servers of an address is the primary, as far as that is known.

`watching` asks all of them, `standing` is what follows from their answers, and here is what
connections are held against. No answer of an old primary is believed once a newer one was seen,
also while the newer one is away.
"""

import math
import time

from lalepass_service.adapters.sql.standing import NOTHING, Rank
from lalepass_service.core.errors import LalepassError, StoreUnavailable


class WrongPrimary(StoreUnavailable):
    """The server is not the one to ask, or it can't be told which one is, or it has no room."""

    def __init__(self, why: str) -> None:
        LalepassError.__init__(self, f"the database gives no answer: {why}")


class Primaries:
    """What is known of the hosts of one address. Threads share it."""

    def __init__(self) -> None:
        self.standing = NOTHING
        self.watched = False
        """Whether anybody keeps looking. Otherwise every server is believed."""
        self.good: int | None = None
        """The host that the last connection was made to."""
        self.dropped = 0
        """How many connections were given up since they led to an old primary."""
        self.refused = 0
        """How many writes were refused for want of a server that could take them."""
        self.looked: float | None = None
        """When the hosts were looked at last, by the monotonic clock."""
        self._most_left: int | None = None

    def limit(self, most_left: int) -> None:
        """Take no more writes when so many transactions wait for a standby that nobody awaits."""
        self._most_left = most_left

    @property
    def writing(self) -> int:
        """How many servers take writes."""
        return self.standing.writing

    @property
    def timeline(self) -> int:
        """The lowest that is believed; 0 if none was seen."""
        return self.standing.least.timeline if self.standing.least is not None else 0

    @property
    def split(self) -> bool:
        """Whether it can't be told which of them is the right one."""
        return self.standing.split

    @property
    def up(self) -> bool:
        """Whether the one that is believed has answered the last look."""
        return self.standing.up

    @property
    def age(self) -> float:
        """Seconds since the last look; NaN if there was none."""
        return math.nan if self.looked is None else time.monotonic() - self.looked

    @property
    def left(self) -> int:
        """Transactions that wait for a standby, and nobody for them any more."""
        return self.standing.left

    @property
    def first(self) -> int | None:
        """The number of the host to try first."""
        return self.standing.host if self.standing.host is not None else self.good

    @property
    def full(self) -> bool:
        """Whether so many transactions wait for a standby that there is no point in more."""
        return self._most_left is not None and self.left >= self._most_left

    def believes(self, rank: Rank | None) -> bool:
        """Whether a server is the newest that was seen. None was not asked."""
        least = self.standing.least
        return rank is None or least is None or (rank.system == least.system and rank >= least)

    def require(self, rank: Rank | None) -> None:
        """Refuse an old primary.

        Raises:
            WrongPrimary: it is one.
        """
        if rank is not None and not self.believes(rank):
            self.dropped += 1
            raise WrongPrimary(self._why_not(rank))

    def _why_not(self, rank: Rank) -> str:
        least = self.standing.least
        if least is not None and rank.system != least.system:
            return _of_another(rank.system, known=least.system)
        return "a newer primary was seen, and does not answer"

    def may_write(self, *, changes: bool) -> None:
        """Say whether it is of any use to write now; with `changes`, what is not to be lost.

        Raises:
            WrongPrimary: it is not.
        """
        why = None
        standing = self.standing
        if changes and (standing.split or standing.doubted):
            why = "two servers take writes, and nothing tells which is the right one"
            if standing.other is not None and standing.least is not None:
                why = _of_another(standing.other, known=standing.least.system)
        elif self.full:
            why = "too many transactions wait for a standby"
        if why is not None:
            self.refused += 1
            raise WrongPrimary(why)


def _of_another(system: int, *, known: int) -> str:
    return (
        f"the server is of another installation (system {system}) than the one known so far "
        f"({known}), of which a host does not answer: if it was restored there, restart this"
    )
