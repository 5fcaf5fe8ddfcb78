"""Checks that were turned away, in the trail: the first few, then one entry a minute that counts.

To be told to wait, or that there is no room, costs the one who asks nothing, and us hardly
anything: without a bound, as many entries would be written as there are requests, by the gigabyte
in a day. What each of them says is what the first few have said. That they were many is worth an
entry, and how many.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final

from lalepass_service.core.audit import Entry, Event, Fact

THROTTLED: Final = "throttled"
"""The outcome of a guess that has to wait."""

NO_ANSWER: Final = "no_answer_"
"""How the outcomes begin of what could not be found out: there was no room, or no database."""

FEW: Final = 3
"""Entries of an account in a minute that are written as they are, of each outcome."""

SECONDS: Final = 60.0

MAX_FEW: Final = 600
"""The same for all accounts together, once for those that were throttled and once for the rest: who
has the queue overflow does not hide who is guessed at."""

MAX_ACCOUNTS: Final = 1000
"""Accounts that are counted by themselves at a time. All others are counted as one of which no name
is known. So there are some 1600 entries a minute at most, and as many of the other kind."""

_OTHERS: Final = ""
"""No account's id."""


@dataclass(slots=True)
class _Minute:
    """What there was of an account, and of one outcome, since its minute began."""

    begun: float
    whole: int = 0
    count: int = 0
    first: Entry | None = None
    last: Entry | None = None
    one_source: bool = True

    def add(self, entry: Entry) -> None:
        self.count += 1
        self.first = self.first or entry
        self.last = entry
        self.one_source = self.one_source and entry.source_ip == self.first.source_ip


_Key = tuple[str, str, str | None]
"""Outcome, caller, and the account's id: none for a name that nobody has."""


class TurnedAway:
    """Says what is written as it is, and counts the rest."""

    def __init__(self, *, seconds: Callable[[], float] = monotonic) -> None:
        self._kinds = {kind: _Kind(seconds) for kind in (THROTTLED, NO_ANSWER)}

    def take(self, entry: Entry) -> bool:
        """Say whether an entry is to be written; if not, it has been counted."""
        if entry.event != Event.CHECK:
            return True
        kind = next((each for each in self._kinds if entry.outcome.startswith(each)), None)
        return kind is None or self._kinds[kind].take(entry)

    def due(self) -> list[Entry]:
        """Return entries of what was counted in minutes that are over."""
        return [entry for kind in self._kinds.values() for entry in kind.due()]

    def rest(self) -> list[Entry]:
        """Return entries of all that was counted, also in minutes that are not over."""
        return [entry for kind in self._kinds.values() for entry in kind.rest()]


class _Kind:
    """Has its own bounds, which no other kind uses up."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._minutes: dict[_Key, _Minute] = {}
        self._few = 0
        self._few_since = seconds()

    def take(self, entry: Entry) -> bool:
        now = self._seconds()
        if now - self._few_since >= SECONDS:
            self._few, self._few_since = 0, now
        key, minute = self._minute_of(entry, now)
        if key[-1] != _OTHERS and minute.whole < FEW and self._few < MAX_FEW:
            minute.whole += 1
            self._few += 1
            return True
        minute.add(entry)
        return False

    def due(self) -> list[Entry]:
        now = self._seconds()
        over = []
        # They stand in the order in which they began.
        for key, minute in self._minutes.items():
            if now - minute.begun < SECONDS:
                break
            over.append(key)
        return _entries({key: self._minutes.pop(key) for key in over})

    def rest(self) -> list[Entry]:
        minutes, self._minutes = self._minutes, {}
        return _entries(minutes)

    def _minute_of(self, entry: Entry, now: float) -> tuple[_Key, _Minute]:
        key: _Key = (entry.outcome, entry.actor, entry.user_id)
        if key not in self._minutes and len(self._minutes) >= MAX_ACCOUNTS:
            key = (entry.outcome, entry.actor, _OTHERS)
        return key, self._minutes.setdefault(key, _Minute(now))


def _entries(minutes: Mapping[_Key, _Minute]) -> list[Entry]:
    found = [_entry(minute, named=key[-1] != _OTHERS) for key, minute in minutes.items()]
    return [entry for entry in found if entry is not None]


def _entry(minute: _Minute, *, named: bool) -> Entry | None:
    first, last = minute.first, minute.last
    if first is None or last is None:
        return None
    facts: dict[str, Fact] = {
        "count": minute.count,
        "since": first.at.isoformat(timespec="milliseconds"),
    }
    return Entry(
        at=last.at,
        event=last.event,
        outcome=last.outcome,
        actor=last.actor,
        user_id=last.user_id if named else None,
        localpart=last.localpart if named else None,
        source_ip=last.source_ip if minute.one_source else None,
        details=facts,
    )
