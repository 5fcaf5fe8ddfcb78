"""What the hosts of an address say of themselves, and what follows from that.

libpq takes the first one that takes writes. After a promotion that may be an old primary that goes
on: it has an older timeline (PostgreSQL, "Continuous Archiving", on timelines), and nothing of what
was changed since. A host that is silent may go on unseen; one that refuses connections does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, NamedTuple

_SURE: Final = 5
"""Looks in a row that have to show that nobody has the timeline any more which was believed. One
name may lead to several servers, to the older one now and then."""


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


class Closed(Enum):
    """What a host says where nothing listens: as long as that is so, it takes no writes."""

    CLOSED = 0


CLOSED: Final = Closed.CLOSED

Answer = Seen | Closed | None
"""Of one host. None is silence, behind which may be anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known, as of a look at all hosts."""

    least: Rank | None = None
    """The lowest that is believed; None if none was seen that takes writes."""
    host: int | None = None
    """The number of the host that is written to, in their order in the address."""
    writing: int = 0
    """How many servers take writes."""
    up: bool = False
    """Whether one has answered that takes writes and is believed."""
    split: bool = False
    """Whether it can't be told which of them is the right one."""
    doubted: bool = False
    """Whether that was so in one look only: a server may restart between two answers."""
    other: int | None = None
    """The system of a server that takes writes and has nothing to do with the one known before."""
    ahead: int | None = None
    """The number of a standby that is newer than all that take writes."""
    claims: tuple[Seen | None, ...] = ()
    """What each host has said last, if that was that it takes writes."""
    lower: int = 0
    """How many looks in a row all have answered, and nobody was what is believed."""
    left: int = 0
    """As in `Seen`, of the one that is written to."""


NOTHING: Final = Standing()


def judge(before: Standing, answers: Sequence[Answer]) -> Standing:
    """Say what follows from what each host has answered.

    What was seen once holds until all hosts answer: the one that is away may be the newest. And a
    host that has taken writes is taken to do so until it says something else, or is closed.
    """
    claims = _claims(before, answers)
    claimed = [each for each in claims if each is not None]
    writing = {each.server for each in answers if isinstance(each, Seen) and each.writes}
    now = replace(before, claims=claims, writing=len(writing), ahead=None, other=None)
    if not claimed:
        return replace(now, up=False, split=False, doubted=False, lower=0)
    known = None if _all_answer(answers) else before.least
    systems = {each.rank.system for each in claimed} | ({known.system} if known else set())
    if len(systems) > 1:
        return _unrelated(now, answers)
    return _related(now, answers)


def hear(before: Standing, number: int, seen: Seen) -> Standing:
    """Say what follows from the answer of one host, before the others are heard.

    A newer primary of the same system needs nobody else to be believed.
    """
    least = before.least
    if not seen.writes or least is None or seen.rank.system != least.system or seen.rank <= least:
        return before
    return replace(before, least=seen.rank, host=number, up=True, lower=0, left=seen.left)


def _all_answer(answers: Sequence[Answer]) -> bool:
    return all(isinstance(each, Seen) for each in answers)


def _claims(before: Standing, answers: Sequence[Answer]) -> tuple[Seen | None, ...]:
    """Return who takes writes, as far as one knows: who is silent may do what it did."""
    old = before.claims or (None,) * len(answers)
    return tuple(
        last if answer is None else answer if isinstance(answer, Seen) and answer.writes else None
        for last, answer in zip(old, answers, strict=True)
    )


def _unrelated(now: Standing, answers: Sequence[Answer]) -> Standing:
    """Of several databases that have nothing to do with one another none is chosen."""
    least = now.least
    ranks = [each.rank for each in answers if isinstance(each, Seen) and each.writes]
    others = [each.system for each in ranks if least is not None and each.system != least.system]
    return replace(
        _in_doubt(now),
        other=others[0] if others and len(others) == len(ranks) else None,
        up=any(each.system == least.system and each >= least for each in ranks if least),
    )


def _related(now: Standing, answers: Sequence[Answer]) -> Standing:
    """Look for the newest, of those that take writes on one system."""
    everybody = _all_answer(answers)
    seen = [(number, each) for number, each in enumerate(answers) if isinstance(each, Seen)]
    top = max(each.rank for each in now.claims if each is not None)
    least, lower = _raised(now, top, everybody=everybody)
    newer = [
        (each.rank, number)
        for number, each in seen
        if not each.writes and each.rank.system == top.system and each.rank > top
    ]
    if newer and not everybody:
        # It follows somebody who does not answer.
        least = max(least, max(newer)[0])
    newest = [(number, each) for number, each in seen if each.writes and each.rank == least]
    split = len({each.server for each in now.claims if each and each.rank == least}) > 1
    return replace(
        _in_doubt(now) if split else replace(now, split=False, doubted=False),
        least=least,
        lower=lower,
        host=newest[0][0] if newest and not split else now.host,
        up=bool(newest),
        ahead=max(newer)[1] if newer else None,
        left=newest[0][1].left if newest else now.left,
    )


def _raised(now: Standing, top: Rank, *, everybody: bool) -> tuple[Rank, int]:
    """Return the lowest that is believed, and for how long nobody has been that."""
    known = now.least
    if known is None or known.system != top.system or known <= top:
        return top, 0
    lower = now.lower + 1 if everybody else 0
    return (top, 0) if lower >= _SURE else (known, lower)


def _in_doubt(now: Standing) -> Standing:
    sure = now.split or now.doubted
    return replace(now, split=sure, doubted=not sure)
