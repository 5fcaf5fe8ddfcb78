"""Reading the trail, of whatever size: a stretch at a time, each within the time of a statement.

There are indexes for an account and for times, and for nothing else: each would cost every check.
So what is asked for by other words is looked for in all of the trail, or in what an index leaves of
it where that is little. A million entries take some seconds; nobody else waits for any of it.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.session import Session, instant
from lalepass_service.core.audit import Entry, Event
from lalepass_service.core.errors import StoreUnavailable
from lalepass_service.core.model import UserId

Found = list[tuple[int, Entry]]
"""Entries with their numbers."""

STRETCH: Final = 10_000
"""Entries that one statement looks at: some hundredths of a second, and some megabytes."""

_FIRST_STRETCH: Final = 1000
"""Most questions are about the last few."""

_AT_ONCE: Final = 500

COLUMNS: Final = (
    "at, event, outcome, actor, user_id, localpart, source_ip, user_agent, request_id, details"
)

_CONDITIONS: Final[Mapping[str, str]] = {
    "localpart": "localpart = ?",
    "event": "event = ?",
    "outcome": "outcome = ?",
    "actor": "actor = ?",
    "since": "at >= ?",
    "until": "at < ?",
}

_EVENTS: Final[Mapping[str, Event]] = {event.value: event for event in Event}

_ENDS: Final = "SELECT (SELECT min(id) FROM audit), (SELECT max(id) FROM audit)"
"""Two questions: of both at once SQLite reads the whole table."""


async def pages(
    hot: Hot,
    *,
    conditions: Mapping[str, str],
    after: int,
    newest: bool,
    stretch: int,
) -> AsyncGenerator[Found]:
    """Go through what is in the trail now, in the order in which it was written, or against it.

    Args:
        hot: the way to the database.
        conditions: see `SqlTrail.entries`.
        after: only those behind this number.
        newest: begin with the last one.
        stretch: how many entries one statement may look at.

    Raises:
        StoreUnavailable: the database did not answer, or not in time.
    """
    numbers = await _few(hot, conditions, at_most=stretch)
    if numbers is None:
        lowest, highest = await hot.read(_ends)
        if highest is None:
            return
        spans = _spans(max(after, lowest - 1), highest, newest=newest, stretch=stretch)
        works = (_of_span(span, conditions, newest=newest) for span in spans)
    else:
        numbers = sorted((each for each in numbers if each > after), reverse=newest)
        parts = (numbers[at : at + _AT_ONCE] for at in range(0, len(numbers), _AT_ONCE))
        works = (_of_numbers(part, conditions, newest=newest) for part in parts)
    for statement, values in works:
        if found := await hot.read(partial(_entries, statement=statement, values=values)):
            yield found


async def _few(hot: Hot, conditions: Mapping[str, str], *, at_most: int) -> list[int] | None:
    """Return the numbers that an index leaves, if they are few."""
    # One index: with two conditions a database chooses one, and may have to read long for it.
    if "localpart" in conditions:
        names, order = ["localpart"], ""
    else:
        names, order = [name for name in ("since", "until") if name in conditions], "ORDER BY at"
    if not names:
        return None
    where = " AND ".join(_CONDITIONS[name] for name in names)
    statement = f"SELECT id FROM audit WHERE {where} {order} LIMIT ?"  # noqa: S608 - of constants
    values = (*(conditions[name] for name in names), at_most + 1)
    try:
        numbers = await hot.read(partial(_numbers, statement=statement, values=values))
    except StoreUnavailable:
        # A server that knows its tables badly may have read them all. There is another way; and
        # if it is away, that one says so.
        return None
    return numbers if len(numbers) <= at_most else None


def _spans(low: int, high: int, *, newest: bool, stretch: int) -> Iterator[tuple[int, int]]:
    """Cut what is above `low` and not above `high` into stretches."""
    size = min(_FIRST_STRETCH, stretch)
    while low < high:
        if newest:
            span = max(low, high - size), high
            high = span[0]
        else:
            span = low, min(high, low + size)
            low = span[1]
        yield span
        size = min(2 * size, stretch)


def _of_span(
    span: tuple[int, int], conditions: Mapping[str, str], *, newest: bool
) -> tuple[str, Sequence[object]]:
    # The LIMIT takes nothing away. It keeps the conditions out of the inner query, where a
    # database might prefer an index that leads to far more rows than the numbers do.
    low, high = span
    stretch = f"SELECT id, {COLUMNS} FROM audit WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"  # noqa: S608 - of constants
    where = " AND ".join(_CONDITIONS[name] for name in conditions) or "1 = 1"
    statement = (
        f"SELECT id, {COLUMNS} FROM ({stretch}) AS stretch WHERE {where} {_order(newest=newest)}"  # noqa: S608 - of constants
    )
    return statement, (low, high, high - low, *conditions.values())


def _of_numbers(
    numbers: Sequence[int], conditions: Mapping[str, str], *, newest: bool
) -> tuple[str, Sequence[object]]:
    marks = ", ".join("?" for _ in numbers)
    where = " AND ".join([f"id IN ({marks})", *(_CONDITIONS[name] for name in conditions)])
    statement = f"SELECT id, {COLUMNS} FROM audit WHERE {where} {_order(newest=newest)}"  # noqa: S608 - of constants
    return statement, (*numbers, *conditions.values())


def _order(*, newest: bool) -> str:
    return "ORDER BY id DESC" if newest else "ORDER BY id"


def _ends(session: Session) -> tuple[Any, Any]:
    lowest, highest = session.run(_ENDS).fetchone()
    return lowest, highest


def _numbers(session: Session, *, statement: str, values: Sequence[object]) -> list[int]:
    return [row[0] for row in session.run(statement, values)]


def _entries(session: Session, *, statement: str, values: Sequence[object]) -> Found:
    return [_entry(row) for row in session.run(statement, values)]


def _entry(row: tuple[Any, ...]) -> tuple[int, Entry]:
    number, at, event, outcome, actor, user_id, *rest = row
    localpart, source_ip, user_agent, request_id, details = rest
    entry = Entry(
        at=instant(at),
        event=_EVENTS.get(event, event),
        outcome=outcome,
        actor=actor,
        user_id=None if user_id is None else UserId(user_id),
        localpart=localpart,
        source_ip=source_ip,
        user_agent=user_agent,
        request_id=request_id,
        details=json.loads(details) if details else {},
    )
    return number, entry
