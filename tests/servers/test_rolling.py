"""Replicas are ended and started again one by one, and nobody notices."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from lalepass_wire import paths
from tests.lalepass_service.versions import NAME, make_newer
from tests.servers.asking import Caller
from tests.servers.fixtures import left_out_if_missing
from tests.servers.haproxy import HaProxy, haproxy
from tests.servers.postgres import Database
from tests.servers.services import Replica, Services, Settings, services

PASSWORD = "correct horse battery"
_DRAIN = 4.0
_FENCE = 60
_CALLERS = 6


SETTINGS: Settings = {
    "server": {"drain_seconds": _DRAIN},
    # Nobody is turned away because the machine has much else to do.
    "hashing": {"deadline_seconds": 30},
}
PEOPLE = {f"user-{number}": PASSWORD for number in range(_CALLERS)}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("rolling")
    with services(folder, count=2, settings=SETTINGS, people=PEOPLE) as made:
        yield made


@pytest.fixture(scope="module")
def balancer(two: Services) -> Iterator[HaProxy]:
    with (
        left_out_if_missing(),
        haproxy([replica.port for replica in two.replicas]) as balancer,
    ):
        yield balancer


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _FENCE
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)  # noqa: TID251 - with a deadline


def tell(replica: Replica) -> None:
    """Send SIGTERM, and go on."""
    assert replica.ask_to_end() is None


def test_one_that_is_told_to_end_says_so_and_answers_on(two: Services) -> None:
    replica = two.replicas[0]
    with (
        httpx.Client(base_url=replica.url, timeout=_FENCE) as client,
        two.caller() as caller,
        ThreadPoolExecutor(1) as thread,
    ):
        client.headers["Authorization"] = f"Bearer {two.token}"
        cursor = caller.locked().cursor
        before = client.get(paths.HEALTH_READY)
        waiting = thread.submit(caller.changes, cursor, wait=30)
        until(lambda: "lalepass_feed_waiting 1" in client.get(paths.METRICS).text)
        begun = time.monotonic()
        tell(replica)
        until(lambda: client.get(paths.HEALTH_READY).status_code == 503)
        told = client.get(paths.HEALTH_READY)
        live = client.get(paths.HEALTH_LIVE)
        accepted = caller.check("user-0", PASSWORD)
        assert waiting.result(timeout=_FENCE).accounts == ()
        code = replica.ask_to_end(_FENCE)  # the second signal
        took = time.monotonic() - begun

    assert before.status_code == 200
    assert "connection" not in before.headers
    assert told.json()["code"] == "unavailable"
    assert told.headers["connection"] == live.headers["connection"] == "close"
    assert live.status_code == 200
    assert accepted
    assert code == 0
    assert took < 30, "who waits for changes was not let go"
    replica.start()


class Logins:
    """People who log in all the time, each on a connection of its own that is kept."""

    def __init__(self, url: str, token: str) -> None:
        self.done = 0
        self.failed: list[str] = []
        self._over = threading.Event()
        self._url, self._token = url, token

    def log_in(self, name: str) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        body = {"identifier": {"kind": "user", "localpart": name}, "password": PASSWORD}
        with httpx.Client(base_url=self._url, headers=headers, timeout=_FENCE) as client:
            while not self._over.is_set():
                try:
                    answer = client.post(paths.CHECK_CREDENTIALS, json=body)
                    if answer.json().get("result") != "accepted":
                        self.failed.append(answer.text)
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                self.done += 1

    def reach(self, number: int) -> bool:
        return self.done >= number

    def end(self) -> None:
        self._over.set()


def _is_up(balancer: HaProxy, replica: Replica) -> bool:
    return replica.port in balancer.ready()


@contextmanager
def logging_in(balancer: HaProxy, token: str) -> Iterator[Logins]:
    """Let all of them log in for as long as this lasts."""
    logins = Logins(balancer.url, token)
    with Caller(balancer.url, token) as caller:
        until(caller.is_ready)
    with ThreadPoolExecutor(_CALLERS) as threads:
        running = [threads.submit(logins.log_in, name) for name in PEOPLE]
        try:
            yield logins
        finally:
            logins.end()
        for each in running:
            each.result(timeout=_FENCE)


def _some_more(logins: Logins) -> None:
    until(partial(logins.reach, logins.done + 10))


def test_nobody_fails_to_log_in_while_replicas_are_replaced(
    two: Services, balancer: HaProxy
) -> None:
    with logging_in(balancer, two.token) as logins:
        for replica in two.replicas:
            _some_more(logins)
            assert replica.ask_to_end(_FENCE) == 0
            replica.start()
            until(partial(_is_up, balancer, replica))

    assert logins.failed == []
    assert logins.done > 4 * 10


@pytest.mark.timeout(600)
def test_nobody_fails_to_log_in_while_a_newer_version_with_newer_tables_takes_over(
    tmp_path: Path, postgres_database: Database
) -> None:
    settings = {**SETTINGS, **postgres_database.settings}
    newer = make_newer(tmp_path)
    with (
        left_out_if_missing(),
        services(tmp_path, count=2, settings=settings, people=PEOPLE) as two,
        haproxy([replica.port for replica in two.replicas]) as balancer,
        logging_in(balancer, two.token) as logins,
    ):
        _some_more(logins)
        command = [sys.executable, "-m", "lalepass_service", "--config", str(two.config)]
        env = os.environ | {"PYTHONPATH": str(newer)}
        subprocess.run([*command, "db", "migrate"], env=env, cwd=newer, check=True, timeout=_FENCE)
        # Those that are not replaced yet go on with tables that they do not know.
        _some_more(logins)
        assert two.run("db", "status").strip().endswith(": compatible")
        for replica in two.replicas:
            assert replica.ask_to_end(_FENCE) == 0
            replica.path = newer
            replica.start()
            assert NAME in replica.log.read_text(encoding="utf-8")
            until(partial(_is_up, balancer, replica))
            _some_more(logins)

    assert logins.failed == []
