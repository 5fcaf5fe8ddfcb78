"""The budget of guesses is exact, also with several processes and when one of them dies."""

import sqlite3
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lalepass_service.adapters.sql.session import Either, Rows, SqliteSession, text_of
from lalepass_service.adapters.sql.softlocks import pay
from lalepass_service.core.softlock import Bid, Ticket
from tests.lalepass_service.adapters.killing import NOTES, Nursery, notes, rounds
from tests.lalepass_service.adapters.sql.processes import go, start

# Guesses as fast as it can, prints a line for each guess that it may make.
GUESS = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.core.errors import Throttled
from tests.lalepass_service.paying import debit

NOW = datetime(2026, 1, 2, tzinfo=UTC)

async def main(path, account, who, count, together):
    hot = HotPath.open(Path(path))
    locks = SqlSoftLocks(hot)
    sys.stdin.readline()

    async def one(number):
        guess = f"{who}-{number}".encode().rjust(16)
        try:
            await debit(locks, account, source=b"", guess=guess, now=NOW)
        except Throttled:
            return
        print(number, flush=True)

    numbers = range(int(count))
    for begin in range(0, len(numbers), int(together)):
        await asyncio.gather(*map(one, numbers[begin : begin + int(together)]))
    await hot.close()

asyncio.run(main(*sys.argv[1:]))
"""

# Guesses at an account of its own, each time as late as it takes, and notes each guess that it may
# make.
_GUESS_ON = (
    NOTES
    + """
import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4
from lalepass_service.adapters.sql.hot_sqlite import HotPath
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from tests.lalepass_service.paying import debit
from lalepass_service.core.softlock import STOP_AT

NOW = datetime(2026, 1, 2, tzinfo=UTC)

def work(path, notes):
    asyncio.run(guess(Path(path), taking_notes(notes)))

async def guess(path, note):
    locks, account = SqlSoftLocks(HotPath.open(path)), str(uuid4())
    for number in range(STOP_AT):
        now = NOW + timedelta(hours=2 * number)
        await debit(locks, account, source=b"", guess=number.to_bytes(16), now=now)
        note(account)
"""
)


def failures(path: Path, account: str) -> int:
    query = "SELECT failures FROM lanes WHERE account = ?"
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute(query, (account,)).fetchone()[0])


@pytest.mark.parametrize("processes", [1, 4])
def test_ten_thousand_parallel_guesses_get_three(path: Path, processes: int) -> None:
    guessing = [
        start(GUESS, path, "id-alice", who, str(10_000 // processes), "500")
        for who in "abcd"[:processes]
    ]
    for process in guessing:
        go(process)
    admitted = [line for process in guessing for line in finish(process)]

    assert len(admitted) == 3
    assert failures(path, "id-alice") == 3


class Noting(SqliteSession):
    """Notes of every row that is read which cells are filled."""

    filled: list[list[bool]]

    def run(self, statement: str | Either, values: Sequence[object] = ()) -> Rows:
        text = statement if isinstance(statement, str) else statement.sqlite
        if not text.lstrip().startswith("SELECT"):
            return super().run(statement, values)
        rows = self.execute(text, values).fetchall()
        self.filled += [[cell is not None for cell in row] for row in rows]
        # The rows once more, for whoever asked.
        places = ", ".join("?" * len(rows[0])) if rows else "NULL WHERE FALSE"
        return self.execute(f"SELECT {places}", rows[0] if rows else ())


def test_who_comes_from_where_a_locked_one_is_known_reads_as_much_as_where_nobody_is(
    path: Path,
) -> None:
    """To read a row takes time, and all the more if nobody had to read it for long."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    home = b"h" * 16
    with closing(sqlite3.connect(path, factory=Noting)) as session, session:
        for user_id in ("1-id", "2-id", "3-id"):
            session.execute(
                "INSERT INTO users (id, localpart, state, admin, created_at)"
                " VALUES (?, ?, 'active', 0, ?)",
                (user_id, user_id, text_of(now)),
            )
            session.execute(
                "INSERT INTO known_sources (user_id, source, seen_at) VALUES (?, ?, ?)",
                (user_id, home, text_of(now)),
            )
            session.execute(
                "INSERT INTO lanes (account, lane, failures, ring, changed_at)"
                " VALUES (?, x'', 100, x'', ?)",
                (user_id, text_of(now)),
            )

        def read(account: str) -> list[list[bool]]:
            session.filled = []
            paid = pay(session, Bid(account=account, guess=b"g" * 16, source=home), now)
            assert isinstance(paid, Ticket)
            return session.filled

        assert read("2-id") == read("2:nobody")


@pytest.mark.timeout(600)
def test_no_counter_is_lower_than_what_was_acknowledged(path: Path) -> None:
    with Nursery(_GUESS_ON, path, path.parent / "notes") as nursery:
        for delay in rounds(longest=nursery.whole()):
            nursery.kill_after(delay)
            acknowledged = Counter(account for (account,) in notes(path.parent / "notes"))
            with closing(sqlite3.connect(path)) as database:
                paid = Counter(dict(database.execute("SELECT account, failures FROM lanes")))
            # At most one was paid for whose guesser was killed before it could hear of it.
            assert acknowledged <= paid
            assert max((paid - acknowledged).values(), default=0) <= 1


def finish(process: subprocess.Popen[str]) -> list[str]:
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return out.splitlines()
