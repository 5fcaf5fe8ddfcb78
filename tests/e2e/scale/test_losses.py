"""What people notice when a part is lost: little, and never that an old password is good again."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.scale.conftest import OTHER, PASSWORD
from tests.e2e.scale.site import ANSWERING, GENERIC, Chat
from tests.e2e.scale.talking import Reader, join, room_of, send
from tests.e2e.sessions import CLIENT, log_in, wait_for
from tests.e2e.waiting import until

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[3] / "docs" / "scaling.md").read_text(encoding="utf-8")


NONE = 0


class Answers:
    """The statuses of what was asked again and again, NONE where nothing was answered."""

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask
        self._counts: Counter[int] = Counter()
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(2)]

    @contextmanager
    def gathered(self) -> Iterator["Answers"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._enough.set()
            for thread in self._threads:
                thread.join(timeout=60)

    def wait_for(self, status: int, *, more: int) -> None:
        """Return as soon as there were so many more of these."""
        wanted = self._counts[status] + more
        until(lambda: self._counts[status] >= wanted, what=f"{more} more answers {status}")

    def seen(self) -> set[int]:
        return {status for status, count in self._counts.items() if count}

    def _go_on(self) -> None:
        while not self._enough.is_set():
            try:
                status = self._ask()
            except httpx.HTTPError:
                status = NONE
            self._counts[status] += 1


def test_nobody_notices_the_loss_of_a_replica_of_lalepass(site: Chat) -> None:
    site.wait_until_well()
    answers = Answers(lambda: site.door.log_in("ada", PASSWORD).status_code)
    with answers.gathered():
        for replica in site.lalepass.replicas:
            answers.wait_for(200, more=5)
            replica.kill()
            answers.wait_for(200, more=10)
            replica.start()
    assert answers.seen() == {200}


def test_people_of_a_worker_that_is_lost_are_led_to_the_other(site: Chat) -> None:
    site.wait_until_well()
    lost, left = GENERIC
    readers = [
        Reader(site.door, log_in(site.door, name, PASSWORD)) for name in ("ada", "bruno", "emil")
    ]
    site.synapse[lost].kill()
    mark = site.proxy.mark()

    # At once, before the proxy has found out by asking.
    for reader in readers:
        reader.read()
    for _ in range(4):
        log_in(site.door, "bruno", PASSWORD)
    until(lambda: lost not in site.proxy.well(), what="the proxy has noticed")
    for path, method, count in ((f"{CLIENT}/sync", "GET", 3), (f"{CLIENT}/login", "POST", 4)):
        until(
            lambda m=method, p=path, c=count: site.proxy.answered(m, p, since=mark) == [left] * c,  # type: ignore[misc]  # bound now
            what="the other one has answered",
        )

    site.synapse[lost].start()
    site.wait_until_well()
    session = log_in(site.at(lost), "ada", PASSWORD)
    wait_for(site.at(left), session, 200)


def statement(text: str) -> str:
    """A statement of the page."""
    assert text in PAGE
    return text


def test_after_a_promotion_all_go_on_and_no_old_password_is_good(site: Chat) -> None:
    site.wait_until_well()
    fritz, gerda = log_in(site.door, "fritz", PASSWORD), log_in(site.door, "gerda", PASSWORD)
    room = room_of(site.door, gerda, "fritz")
    join(site.door, fritz, room)
    site.lalepass.set_password("fritz", OTHER)
    processes = site.pids()
    standby = statement(
        "SELECT application_name, state, pg_current_wal_lsn() - replay_lsn AS behind"
        " FROM pg_stat_replication;"
    )
    assert site.pair.primary.sql(standby).startswith("second\tstreaming")
    answers = Answers(lambda: site.door.log_in("fritz", PASSWORD).status_code)
    with answers.gathered():
        answers.wait_for(403, more=5)
        site.pair.primary.kill()
        assert site.pair.standby.sql(statement("SELECT pg_promote();")) == "t"
        site.pair.primary, site.pair.standby = site.pair.standby, site.pair.primary
        until(
            lambda: site.door.log_in("fritz", OTHER).status_code == 200, what="people log in again"
        )
        answers.wait_for(403, more=5)
    assert 200 not in answers.seen()
    assert site.pair.primary.sql(statement("SELECT pg_is_in_recovery();")) == "f"
    # Everybody writes and reads again, by themselves.
    for name in GENERIC:
        until(
            lambda n=name: send(site.at(n), gerda, room, f"by-{n}").status_code == 200,  # type: ignore[misc]  # bound now
            what=f"{name} writes again",
        )
    for name in ANSWERING:
        wait_for(site.at(name), gerda, 200)
    assert site.pids() == processes

    # The old one comes back as a standby, and what is acknowledged is on both again.
    site.pair.rejoin()
    site.pair.primary.require_standby(site.pair.standby)
    site.lalepass.set_password("fritz", PASSWORD)
    assert site.door.log_in("fritz", OTHER).status_code == 403
    log_in(site.door, "fritz", PASSWORD)
