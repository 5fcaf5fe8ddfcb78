"""Four replicas on one PostgreSQL, as one: what is counted, and what is told.

With a Valkey to count in, tests/lalepass_service/test_replicas.py has the same.
"""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Final

import pytest

from lalepass_service.core.directory import Directory
from lalepass_service.core.editing import NewUser
from lalepass_service.core.model import UserState
from lalepass_wire import paths
from tests.servers.asking import Caller, NoAnswer
from tests.servers.postgres import Postgres
from tests.servers.services import Replica, Services, Settings, services
from tools import web

RIGHT: Final = "correct horse battery"
TRIES: Final = 80
WRITERS: Final = 3
EACH: Final = 50
"""Accounts that each writer makes and disables."""
FENCE: Final = 120.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def four(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    database = postgres_server.create_database()
    settings: Settings = {
        **database.settings,
        "hashing": {"threads": 1, "deadline_seconds": 30.0},
    }
    # Nothing here is about a database that is slow, and a busy machine makes it so.
    settings["database"]["timeout"] = 30.0  # type: ignore[index]  # ours, just made
    folder = tmp_path_factory.mktemp("four")
    with services(folder, count=4, settings=settings, people={"alice": RIGHT}) as made:
        yield made
    postgres_server.drop_database(database.name)


def hashes(four: Services) -> float:
    """Return how many passwords all replicas have hashed."""
    return sum(_hashes(replica) for replica in four.replicas)


def _hashes(replica: Replica) -> float:
    text = web.request("GET", f"{replica.url}{paths.METRICS}", timeout=30).body.decode()
    (value,) = re.findall(r"^lalepass_hasher_completed_total (.*)$", text, re.MULTILINE)
    return float(value)


def test_parallel_guesses_over_all_replicas_get_what_one_would_get(four: Services) -> None:
    def guess(replica: Replica, number: int) -> str:
        with four.caller(replica.url, timeout=60) as caller:
            try:
                return "accepted" if caller.check("alice", f"wrong {number}") else "refused"
            except NoAnswer as none:
                return f"{none.status}"

    before = hashes(four)
    with ThreadPoolExecutor(16) as threads:
        replicas = islice(cycle(four.replicas), TRIES)
        answers = Counter(threads.map(guess, replicas, range(TRIES)))

    # Three at once. A wait is over after a second: so slow a machine may do a few more.
    guessed = answers["refused"]
    assert 3 <= guessed <= 8
    assert answers == {"refused": guessed, "429": TRIES - guessed}
    assert hashes(four) - before == guessed
    assert four.failures("alice") == guessed


class Follower:
    """Follows the feed, and asks another replica each time."""

    def __init__(self, callers: list[Caller]) -> None:
        self.seen: dict[str, list[int]] = defaultdict(list)
        """By writer, the numbers of the accounts, as they came."""
        self.pages = 0
        self._callers = cycle(callers)
        self._cursor = callers[0].locked().cursor

    def follow(self, *, wait: float) -> bool:
        """Ask once; say whether there was anything."""
        page = next(self._callers).changes(self._cursor, wait=wait)
        for account in page.accounts:
            writer, _, number = account.localpart.partition("-")
            self.seen[writer].append(int(number))
        self._cursor = page.cursor
        self.pages += bool(page.accounts)
        return bool(page.accounts)


def test_who_asks_replicas_in_turn_misses_nothing_and_sees_the_order(four: Services) -> None:
    def write(writer: int) -> None:
        async def work(directory: Directory) -> None:
            for number in range(EACH):
                name = f"writer{writer}-{number}"
                await directory.add(NewUser(localpart=name), None)
                # of a new account, followers need not hear
                await directory.set_state(name, UserState.DISABLED)

        four.act(work)

    callers = [four.caller(replica.url, timeout=60) for replica in four.replicas]
    follower = Follower(callers)
    with ThreadPoolExecutor(WRITERS) as threads:
        writing = [threads.submit(write, number) for number in range(WRITERS)]
        deadline = time.monotonic() + FENCE
        while not all(one.done() for one in writing):
            follower.follow(wait=1.0)
            assert time.monotonic() < deadline
        for one in writing:
            one.result()
    while follower.follow(wait=0.0):
        pass

    # Each of them once and in the order in which they were acknowledged.
    assert follower.seen == {f"writer{n}": list(range(EACH)) for n in range(WRITERS)}
    # It followed while they wrote, and did not read all of it at the end.
    assert follower.pages > 4
