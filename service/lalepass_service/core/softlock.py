"""How fast and how often one may guess at one account. Pure: a state, a guess, the time.

NIST SP 800-63B-4, section 3.2.2: at most 100 wrong passwords in a row. Until then each one is paid
for in advance and makes the next one wait longer. An adapter keeps the states and applies these
functions inside a transaction (`ports.SoftLocks`), so that they hold across processes.

A state belongs to an account and a lane. Sources from which the account was entered lately have a
lane of their own; everybody else shares one. So a stranger who guesses locks out strangers.

Processes that can't see one another's guesses, for as long as their common store is away, divide
the budget. Each of N counts every guess that it takes as N, and waits N times as long, so that all
together stay within the rules: whatever one process takes, each of the others may have taken, too.
Only the very first guess is free in each of them, or nobody could log in.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

STOP_AT: Final = 100
"""Wrong passwords in a row after which the lane is closed until a reset or an unlock."""

RING_SIZE: Final = 8
"""Wrong passwords that are remembered, so that the same one is no new guess."""

KNOWN_FOR: Final = timedelta(days=30)
"""How long a source has a lane of its own after a right password came from it."""

SEEN_AGAIN: Final = timedelta(days=1)
"""A source is written down anew at most this often: most logins come from where the last came."""

NAMES_KEPT: Final = 1_000_000
"""Names that nobody has and that nobody has guessed at for `KNOWN_FOR`, of which the lanes are kept
all the same, as those of accounts are: or a month would tell which is which. That many, since they
cost nothing to make up; one source alone may leave five times as many in that month."""

NOBODY: Final = ":nobody"
"""Behind the digest of a name that nobody has, where else there is an account's id."""

GUESS_BYTES: Final = 16
"""The length of a remembered guess: a keyed digest, which says nothing without its key."""

_WAITS: Final = (0.0, 0.0, 0.0, 1.0, 3.0, 5.0)
"""Seconds before the next guess, by the number of wrong ones; then the two below."""
_USUAL_WAIT: Final = 10.0
_LONG_FROM: Final = 25
_LONG_WAIT: Final = 30.0
_LONG_GROWTH: Final = 1.5
_LONGEST_WAIT: Final = 3600.0

_CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""Between processes whose clocks are right. A wait may be longer by that, and who waits is told."""

_CLOSED_RETRY: Final = 3600.0
"""What a caller is told at a closed lane. Coming back is of no use, but saying "never" would tell
that this account is more than a name."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What is remembered of the wrong passwords in a row, for one account and one lane."""

    failures: int = 0
    not_before: datetime | None = None
    """When the next guess may be made; None for at once."""
    ring: tuple[bytes, ...] = ()
    """The last guesses that were debited, the newest at the end."""

    @property
    def closed(self) -> bool:
        """Whether no guess is taken any more."""
        return self.failures >= STOP_AT


FRESH: Final = Lane()


@dataclass(frozen=True, slots=True)
class Debited:
    """The guess may be made. It is paid for: `lane` is to be stored before it is."""

    lane: Lane


@dataclass(frozen=True, slots=True)
class Repeated:
    """The guess may be made and costs nothing: it was made before and was wrong.

    A telephone that tries an old password all night must lock nobody out.
    """


@dataclass(frozen=True, slots=True)
class Wait:
    """The guess may not be made, and nothing changes."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """A guess that somebody wants to make, and that is not paid for yet."""

    account: str
    guess: bytes
    source: bytes
    """The digest of where it comes from; empty if that is not known."""
    since: datetime | None = None
    """When the account's password was set, as far as that is known. What is remembered from before
    it is void, for stores that are not told of a new password in the transaction that sets it."""
    unlocked: datetime | None = None
    """When an operator last unlocked the account. No wrong password from before counts, for stores
    that were not told; sources that are known stay so."""

    def ticket(self, *, lane: bytes, paid: bool) -> "Ticket":
        """Return what says that the guess may be made."""
        return Ticket(
            account=self.account,
            lane=lane,
            guess=self.guess,
            source=self.source,
            paid=paid,
            since=self.since,
            unlocked=self.unlocked,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A guess that was admitted: what is needed to settle it."""

    account: str
    lane: bytes
    """Which lane was debited: a known source's digest, or empty for everybody else."""
    guess: bytes
    source: bytes
    """The digest of where it came from; empty if that is not known."""
    paid: bool
    """False for a repeated guess, which was not debited."""
    since: datetime | None = None
    """Of the bid."""
    unlocked: datetime | None = None
    """Of the bid."""


def as_by_the_rule(lane: Lane, *, now: datetime, among: int = 1) -> Lane:
    """Return a lane without a wait that is longer than by the rule, as one begins now.

    The clock may have been ahead when the wait was written down. A keeper decides about what this
    returns, and keeps it also when the guess has to wait: or the wait would begin anew each time.
    """
    if lane.not_before is None:
        return lane
    longest = timedelta(seconds=seconds_after(lane.failures, among=among))
    if lane.not_before - now <= longest + _CLOCKS_DIFFER:
        return lane
    return replace(lane, not_before=now + longest)


def debit(lane: Lane, *, guess: bytes, now: datetime, among: int = 1) -> Debited | Repeated | Wait:
    """Decide about a guess before it is made, as if it were wrong.

    Args:
        lane: what is remembered, `as_by_the_rule`.
        guess: its name.
        now: the time.
        among: how many processes divide the budget, this one included.
    """
    if lane.failures + among > STOP_AT:
        return Wait(_CLOSED_RETRY)
    if lane.not_before is not None and now < lane.not_before:
        # Also for a repeated guess: whatever is verified costs a hash, and waiting costs none.
        return Wait((lane.not_before - now).total_seconds())
    if guess in lane.ring:
        return Repeated()
    return Debited(_debited(lane, guess=guess, now=now, among=among))


def _debited(lane: Lane, *, guess: bytes, now: datetime, among: int) -> Lane:
    failures = lane.failures + among
    wait = seconds_after(failures, among=among)
    return Lane(
        failures=failures,
        not_before=now + timedelta(seconds=wait) if wait else None,
        ring=(*lane.ring, guess)[-RING_SIZE:],
    )


def charge(lane: Lane, *, guess: bytes, now: datetime, among: int = 1) -> Lane:
    """Debit a guess that was made without one, unless a debit stands for it."""
    return lane if guess in lane.ring else _debited(lane, guess=guess, now=now, among=among)


def give_back(lane: Lane, *, guess: bytes, among: int = 1) -> Lane:
    """Undo a debit whose guess could not be verified. Others may have been made meanwhile.

    If there were, the wait belongs to the newest of them, and is what it would be without this one.
    """
    if guess not in lane.ring:
        return lane
    failures = max(0, lane.failures - among)
    ring = tuple(remembered for remembered in lane.ring if remembered != guess)
    wait = seconds_after(failures, among=among)
    if lane.ring[-1] == guess or lane.not_before is None or not wait:
        return Lane(failures=failures, not_before=None, ring=ring)
    less = timedelta(seconds=seconds_after(lane.failures, among=among) - wait)
    return Lane(failures=failures, not_before=lane.not_before - less, ring=ring)


def raised(lane: Lane, *, seen: Lane) -> Lane:
    """Return the lane, or what was seen of it before if that counted more: it was lost since."""
    if seen.failures <= lane.failures:
        return lane
    others = tuple(guess for guess in lane.ring if guess not in seen.ring)
    return Lane(
        failures=seen.failures,
        not_before=_later(lane.not_before, seen.not_before),
        ring=(*seen.ring, *others)[-RING_SIZE:],
    )


def caught_up(lane: Lane, *, made: Iterable[tuple[bytes, datetime]]) -> Lane:
    """Charge the guesses that were made, and when, without this lane; it never opens by it."""
    for guess, at in made:
        charged = charge(lane, guess=guess, now=at)
        lane = replace(charged, not_before=_later(lane.not_before, charged.not_before))
    return lane


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((time for time in (one, other) if time is not None), default=None)


def seconds_after(failures: int, *, among: int = 1) -> float:
    """Return how long the next guess has to wait after so many wrong ones in a row.

    Among several processes, it may be that of each of the others that comes before it.
    """
    return among * _seconds_after(failures + among - 1)


def _seconds_after(failures: int) -> float:
    if failures < len(_WAITS):
        return _WAITS[failures]
    if failures < _LONG_FROM:
        return _USUAL_WAIT
    grown: float = _LONG_WAIT * _LONG_GROWTH ** (min(failures, STOP_AT) - _LONG_FROM)
    return min(_LONGEST_WAIT, grown)
