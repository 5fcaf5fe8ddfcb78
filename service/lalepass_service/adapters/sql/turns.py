"""What one replica does for all, such as forgetting what is old: each time the first who comes."""

from datetime import datetime, timedelta
from typing import Final

from lalepass_service.adapters.sql.hot import Hot
from lalepass_service.adapters.sql.session import Session, text_of

# The last condition: somebody's clock was wrong, and nobody should wait for that day to come.
_TAKE: Final = (
    "INSERT INTO turns (name, taken_at) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE"
    " SET taken_at = excluded.taken_at WHERE turns.taken_at <= ?3 OR turns.taken_at > ?4"
)


class SqlTurns:
    """Hands out turns. One that has been taken and not used is lost, until the next is due."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot

    async def take(self, name: str, *, now: datetime, every: timedelta) -> bool:
        """Say whether it is the caller's turn: nobody has had one for so long.

        Raises:
            StoreUnavailable: the database did not answer, or not in time.
        """
        values = (name, text_of(now), text_of(now - every), text_of(now + every))

        def work(session: Session) -> bool:
            return session.run(_TAKE, values).rowcount == 1

        return await self._hot.step(work, key=name)
