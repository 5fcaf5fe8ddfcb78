"""Four replicas as processes, and the Valkey in which they count."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from threading import Event
from time import monotonic

import pytest

from lalepass_wire import paths
from tests.servers.asking import NoAnswer
from tests.servers.fixtures import left_out_if_missing
from tests.servers.services import Replica, Services, Settings, services
from tests.servers.valkey import Valkey, valkey
from tools import web

RIGHT = "correct horse battery"
PEOPLE = dict.fromkeys(("alice", "bob", "carol", "dave", "erin"), RIGHT)
TRIES = 80


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with left_out_if_missing(), valkey(keeps=True) as server:
        yield server


@pytest.fixture(scope="module")
def four(server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    settings: Settings = {
        # Long enough for a machine that does much else; nothing here waits for its end but once.
        "valkey": {"url": server.new_url(), "replicas": 4, "timeout": 2.0},
        "hashing": {"threads": 1, "deadline_seconds": 30.0},
    }
    folder = tmp_path_factory.mktemp("replicas")
    with services(folder, count=4, settings=settings, people=PEOPLE) as made:
        yield made


def until(fact: Callable[[], bool]) -> None:
    deadline = monotonic() + 60
    while not fact():
        assert monotonic() < deadline
        Event().wait(0.05)


def figure(replica: Replica, name: str) -> float:
    text = web.request("GET", f"{replica.url}{paths.METRICS}", timeout=30).body.decode()
    (value,) = re.findall(rf"^{name} (.*)$", text, re.MULTILINE)
    return float(value)


def hashes(four: Services) -> float:
    return sum(figure(each, "lalepass_hasher_completed_total") for each in four.replicas)


def ask(four: Services, replica: Replica, name: str, password: str) -> str:
    with four.caller(replica.url, timeout=60) as caller:
        try:
            return "accepted" if caller.check(name, password) else "refused"
        except NoAnswer as none:
            return f"{none.status}"


def ask_in_parallel(four: Services, name: str, passwords: list[str]) -> Counter[str]:
    """Ask one replica after another, and all at once."""
    with ThreadPoolExecutor(16) as pool:
        asked = [
            pool.submit(ask, four, replica, name, password)
            for replica, password in zip(cycle(four.replicas), passwords, strict=False)
        ]
        return Counter(each.result() for each in asked)


def test_parallel_guesses_over_all_replicas_get_three(four: Services) -> None:
    before = hashes(four)

    answers = ask_in_parallel(four, "alice", [f"wrong {number}" for number in range(TRIES)])

    # A wait is over after a second, and the next one is of three: so slow a machine may do more.
    guessed = answers["refused"]
    assert 3 <= guessed <= 8
    assert answers == {"refused": guessed, "429": TRIES - guessed}
    assert hashes(four) - before == guessed
    assert four.failures("alice") == guessed


def test_the_same_wrong_password_at_all_replicas_is_paid_for_once(four: Services) -> None:
    """Replicas share the debit, and not the hash (docs/decisions.md)."""
    before = hashes(four)

    answers = ask_in_parallel(four, "bob", ["an old one"] * 20)

    assert answers == {"refused": 20}
    assert four.failures("bob") == 1
    assert hashes(four) - before <= 20


def test_the_right_password_at_all_replicas_is_right(four: Services) -> None:
    assert ask_in_parallel(four, "carol", [RIGHT] * 20) == {"accepted": 20}
    until(lambda: four.failures("carol") == 0)


@pytest.mark.parametrize("fault", ["killed", "stalled"])
def test_without_valkey_people_log_in_and_nobody_guesses_for_long(
    four: Services, server: Valkey, fault: str
) -> None:
    name = {"killed": "dave", "stalled": "erin"}[fault]
    assert ask_in_parallel(four, name, [RIGHT] * 4) == {"accepted": 4}
    if fault == "killed":
        server.kill()
    else:
        server.pause()
    try:
        assert ask_in_parallel(four, name, [RIGHT] * 8) == {"accepted": 8}
        until(lambda: not any(figure(each, "lalepass_valkey_up") for each in four.replicas))
        for replica in four.replicas:
            with four.caller(replica.url) as caller:
                assert caller.is_ready()
        before = hashes(four)
        answers = ask_in_parallel(four, name, [f"wrong {number}" for number in range(TRIES)])
        # The first of each replica is free, and the second one is forty seconds away.
        assert answers == {"refused": 4, "429": TRIES - 4}
        assert hashes(four) - before == 4
        assert all(figure(each, "lalepass_valkey_fallbacks_total") for each in four.replicas)
    finally:
        server.resume()
        if not server.alive:
            server.start()

    until(lambda: all(figure(each, "lalepass_valkey_up") for each in four.replicas))
    until(lambda: four.failures(name) == 4)
    for replica in four.replicas:
        log = replica.log.read_text()
        assert "Valkey gives no answer" in log
        assert "Valkey answers again" in log
        assert RIGHT not in log
