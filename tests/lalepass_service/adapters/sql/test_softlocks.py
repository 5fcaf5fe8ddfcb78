"""The budget of guesses is exact, also with several processes and when one of them dies."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from lalepass_service.core.softlock import STOP_AT
from tests.lalepass_service.adapters.sql.processes import go, start

ROUNDS = int(os.environ.get("LALEPASS_ROUNDS", "10"))

# Guesses as fast as it can, prints a line for each guess that it may make.
GUESS = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from lalepass_service.adapters.sql.hot import HotPath
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.core.errors import Throttled

NOW = datetime(2026, 1, 2, tzinfo=UTC)

async def main(path, account, who, count, together):
    hot = HotPath.open(Path(path))
    locks = SqlSoftLocks(hot)
    sys.stdin.readline()

    async def one(number):
        guess = f"{who}-{number}".encode().rjust(16)
        # one at a time means: each as late as it takes
        now = NOW if int(together) > 1 else NOW + timedelta(hours=2 * number)
        try:
            await locks.debit(account, source=b"", guess=guess, now=now)
        except Throttled:
            return
        print(number, flush=True)

    numbers = range(int(count))
    for begin in range(0, len(numbers), int(together)):
        await asyncio.gather(*map(one, numbers[begin : begin + int(together)]))
    await hot.close()

asyncio.run(main(*sys.argv[1:]))
"""


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


def test_no_counter_is_lower_than_what_was_acknowledged(path: Path) -> None:
    """Kill -9 while guesses are paid for, some rounds on the same database."""
    for round_ in range(ROUNDS):
        account = f"name:{round_}"
        with start(GUESS, path, account, "x", str(STOP_AT), "1") as process:
            go(process)
            assert process.stdout is not None
            read = [process.stdout.readline() for _ in range(1 + round_ % 10)]
            process.kill()
            acknowledged = len(read) + len(process.stdout.read().splitlines())

        assert failures(path, account) >= acknowledged


def finish(process: subprocess.Popen[str]) -> list[str]:
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return out.splitlines()
