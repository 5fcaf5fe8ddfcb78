"""Which of the servers of an address is the primary, as far as that is known.

libpq takes the first one that takes writes. After a promotion that may be an old primary that goes
on: it has an older timeline (PostgreSQL, "Continuous Archiving", on timelines), and nothing of what
was changed since. `watching` asks all of them; here is what follows from their answers, and what
connections are held against. No answer of an old primary is believed once a newer one was seen,
also while the newer one is away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from lalepass_service.core.errors import LalepassError, StoreUnavailable


class Rank(NamedTuple):
    """Of which history a server is, and how late in it."""

    system: int
    """Of a primary and all of its standbys (PostgreSQL, `pg_control_system`)."""
    timeline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a server says of itself."""

    rank: Rank
    """Of a standby: how far it has come."""
    writes: bool
    """Whether it is none that recovers."""
    server: str = ""
    """Tells two servers apart, and one from itself by another name."""
    left: int = 0
    """Transactions of ours that wait for a standby for longer than anybody waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known, as of a look at all hosts."""

    least: Rank | None = None
    """The lowest that is believed; None if none was seen that takes writes."""
    host: int | None = None
    """The number of the host that is written to, in their order in the address."""
    writing: int = 0
    """How many servers take writes."""
    split: bool = False
    """Whether it can't be told which of them is the right one."""
    left: int = 0
    """As in `Seen`, of the one that is written to."""


NOTHING: Final = Standing()


class WrongPrimary(StoreUnavailable):
    """The server is not the one to ask, or it can't be told which one is, or it has no room."""

    def __init__(self, why: str) -> None:
        LalepassError.__init__(self, f"the database gives no answer: {why}")


def judge(before: Standing, answers: Sequence[Seen | None]) -> Standing:
    """Say what follows from what each host has answered, None for no answer.

    What was seen once holds until all hosts answer: the one that is away may be the newest.
    """
    writing = [each for each in answers if each is not None and each.writes]
    if not writing:
        return replace(before, writing=0, split=False, left=0)
    count = len({each.server for each in writing})
    known = before.least if None in answers else None
    systems = {each.rank.system for each in writing} | ({known.system} if known else set())
    if len(systems) > 1:
        # Databases that have nothing to do with one another.
        return replace(before, writing=count, split=True)
    (system,) = systems
    ranks = [each.rank for each in answers if each is not None and each.rank.system == system]
    least = max(ranks if known is None else [*ranks, known])
    newest = [
        (number, each)
        for number, each in enumerate(answers)
        if each is not None and each.writes and each.rank == least
    ]
    split = len({each.server for _, each in newest}) > 1
    return Standing(
        least=least,
        host=newest[0][0] if newest and not split else before.host,
        writing=count,
        split=split,
        left=newest[0][1].left if newest else 0,
    )


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
        if not self.believes(rank):
            self.dropped += 1
            raise WrongPrimary("a newer primary was seen, and does not answer")

    def may_write(self, *, changes: bool) -> None:
        """Say whether it is of any use to write now; with `changes`, what is not to be lost.

        Raises:
            WrongPrimary: it is not.
        """
        why = None
        if changes and self.standing.split:
            why = "two servers take writes, and nothing tells which is the right one"
        elif self.full:
            why = "too many transactions wait for a standby"
        if why is not None:
            self.refused += 1
            raise WrongPrimary(why)
