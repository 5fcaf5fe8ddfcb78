"""Whether a read replica shows what its primary shows.

A standby replays what its primary has written, in that order. So it shows all that was acknowledged
before a moment as soon as it has replayed to where the primary was at that moment: the fence.

That holds for a standby of the same history only. One that had replayed more than the standby that
was promoted is ahead of the new primary, and wrong. What tells them apart is the timeline, which is
another one after each promotion (PostgreSQL, "Continuous Archiving", on timelines). A standby takes
up a timeline only if what it has replayed is part of it; `received_tli` says which one it follows
(PostgreSQL, "The Cumulative Statistics System", `pg_stat_wal_receiver`).
"""

import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast

from lalepass_service.adapters.sql.connecting import OpenSession
from lalepass_service.adapters.sql.postgres import PostgresServer, translated
from lalepass_service.adapters.sql.standing import Rank
from lalepass_service.core.errors import StoreUnavailable

_SELF: Final = """
    (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# Fails on a standby, which has no such position. Whatever is seen of a commit is behind what has
# been flushed, except where commits are not waited for.
_WHERE: Final = f"""
    SELECT {_SELF}, pg_walfile_name(pg_current_wal_lsn()),
        CASE current_setting('synchronous_commit')
            WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn()
        END
"""
# Each statement behind it has a snapshot of its own, whatever the default of the role.
_LOOK: Final = f"""
    BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
    SELECT {_SELF}, pg_is_in_recovery(), receiver.pid IS NOT NULL, receiver.status,
        receiver.received_tli, pg_last_wal_replay_lsn()
    FROM (SELECT) AS one LEFT JOIN pg_stat_wal_receiver AS receiver ON true
"""  # noqa: S608 - constants


class Why(StrEnum):
    """Why a replica is not read from."""

    AWAY = "away"
    LAGGING = "lagging"
    PROMOTED = "promoted"
    NOT_FOLLOWING = "not_following"
    OTHER_TIMELINE = "other_timeline"
    OTHER_DATABASE = "other_database"
    NOT_PERMITTED = "not_permitted"
    NO_FENCE = "no_fence"
    FAILED = "failed"


class NotUsed(StoreUnavailable):
    """A replica is not to be read from now."""

    def __init__(self, why: Why) -> None:
        super().__init__()
        self.why = why


@dataclass(frozen=True, slots=True)
class Fence:
    """Where a primary was, at some moment after it was asked."""

    system: int
    """Of a primary and all of its standbys (PostgreSQL, `pg_control_system`)."""
    database: int
    timeline: int
    position: int
    """In bytes of the log that was ever written."""


class Fences:
    """Asks the primary where it is. Threads share one, and what one answer can tell them all."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._open: OpenSession | None = None
        self._since: float | None = None
        """When the question was asked that has no answer yet."""
        self._changed = threading.Condition()
        self._asking = False
        self._begun = 0
        self._ended = 0
        self._last: Fence | Exception = StoreUnavailable()

    @property
    def asked(self) -> int:
        """How often the primary was asked."""
        return self._begun

    def now(self) -> Fence:
        """Return a fence that was asked for after this call began. Blocks the thread.

        Who comes while an answer is under way waits for the next one, with all others that came
        meanwhile: so there is one question at a time, however many want to know.

        Raises:
            StoreUnavailable: the primary did not answer.
        """
        with self._changed:
            wanted = self._begun + 1
            while self._asking and self._ended < wanted:
                self._changed.wait()
            if self._ended >= wanted:
                return _known(self._last)
            self._asking, self._begun = True, wanted
        answer = self._answer()
        with self._changed:
            self._asking, self._ended, self._last = False, wanted, answer
            self._changed.notify_all()
        return _known(answer)

    def cut(self, *, older: float) -> None:
        """End a question that was asked so many seconds ago. May be called on any thread."""
        opened, since = self._open, self._since
        if opened is not None and since is not None and time.monotonic() - since >= older:
            opened.cut()

    def close(self) -> None:
        """Close the connection, when nobody asks any more."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _answer(self) -> Fence | Exception:
        """Ask, on a new connection if the old one is of no use."""
        had_one = self._open is not None
        answer = self._ask()
        return self._ask() if had_one and isinstance(answer, Exception) else answer

    def _ask(self) -> Fence | Exception:
        self._since = time.monotonic()
        try:
            with translated():
                self._open = self._open or OpenSession.to(self._server)
                answer = fence(self._open)
            self._server.primaries.require(Rank(answer.system, answer.timeline))
        except Exception as error:  # noqa: BLE001 - each of those who wait gets it
            self.close()
            return error
        else:
            return answer
        finally:
            self._since = None


def _known(answer: Fence | Exception) -> Fence:
    if isinstance(answer, Fence):
        return answer
    # Not the same for all: each thread adds its own traceback.
    raise StoreUnavailable from answer


def fence(primary: OpenSession) -> Fence:
    """Ask a primary where it is.

    Raises:
        psycopg.Error: it did not say, or is none.
    """
    system, database, segment, position = primary.session.run(_WHERE).fetchone()
    # The first third of the name of a file of the log.
    return Fence(system, database, int(segment[:8], 16), _bytes(position))


def begin(standby: OpenSession, wanted: Fence) -> Why | None:
    """Begin a transaction, and say why what is read in it may be older than the fence.

    Returns None if it can't be: what the standby has replayed is all in the snapshots that are
    taken after this look.

    Raises:
        psycopg.Error: it did not say.
    """
    # Two statements in one trip, which is possible without parameters.
    cursor = standby.connection.execute(_LOOK)
    cursor.nextset()
    row = cast("tuple[Any, ...]", cursor.fetchone())
    system, database, recovering, receives, status, timeline, position = row
    doubts = (
        ((system, database) != (wanted.system, wanted.database), Why.OTHER_DATABASE),
        (not recovering, Why.PROMOTED),
        (not receives, Why.NOT_FOLLOWING),
        (status is None, Why.NOT_PERMITTED),
        (status != "streaming", Why.NOT_FOLLOWING),
        (timeline != wanted.timeline, Why.OTHER_TIMELINE),
        (position is None or _bytes(position) < wanted.position, Why.LAGGING),
    )
    return next((why for holds, why in doubts if holds), None)


def _bytes(position: Any) -> int:  # noqa: ANN401 - as the driver has it
    """Return a position as a number (PostgreSQL, "pg_lsn Type")."""
    high, _, low = position.partition("/")
    return (int(high, 16) << 32) + int(low, 16)
