"""What one replica does for all, such as forgetting what is old: each time the first who comes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.session import Session, instant, text_of

_READ: Final = "SELECT taken_at FROM turns WHERE name = ?1"
_FIRST: Final = "INSERT INTO turns (name, taken_at) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING"
_NEXT: Final = "UPDATE turns SET taken_at = ?2 WHERE name = ?1 AND taken_at = ?3"


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that was taken."""

    before: datetime | None
    """When the one before it was, by the clock of whoever took that; None if there was none."""


class SqlTurns:
    """Hands out turns. One that has been taken and not used is lost, until the next is due."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot

    async def take(self, name: str, *, now: datetime, every: timedelta) -> Turn | None:
        """Take the turn if it is due: nobody has had one for so long. None: it is not.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """

        def work(session: Session) -> Turn | None:
            row = session.run(_READ, (name,)).fetchone()
            if row is None:
                first = session.run(_FIRST, (name, text_of(now)))
                return Turn(None) if first.rowcount == 1 else None
            before = instant(row[0])
            # Far ahead: somebody's clock was wrong, and nobody should wait for that day to come.
            if now - every < before <= now + every:
                return None
            # Somebody else may have taken it since it was read.
            taken = session.run(_NEXT, (name, text_of(now), text_of(before)))
            return Turn(before) if taken.rowcount == 1 else None

        return await self._hot.step(work, key=name)
