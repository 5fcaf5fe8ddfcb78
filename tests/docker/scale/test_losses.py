"""Each part is killed in turn: what people notice is what docs/scaling.md says, and all comes back.

A part is killed as a machine is that loses its power: no part says goodbye. Whoever is answered in
that moment may have to ask again; what is looked at is what holds until somebody mends it.
"""

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import pytest

from tests.docker.people import ALICE, BOB, until
from tests.docker.scale.chat import Chat, Person
from tests.docker.scale.losses import AWAY, COLUMNS, NO, YES
from tests.docker.scale.test_media import clean
from tests.docker.stack import Stack, docker

PATIENCE = 10.0
"""Seconds after which somebody gives up waiting."""
NOTICED_WITHIN = 45.0
"""Fence until what is told is what the table says; a worker is missed after three checks."""
WELL_WITHIN = 90.0
"""Fence until all is well again, from the start of what was killed."""
ALL_WELL_WITHIN = 240.0
"""The same, where that was everything."""
_NUMBERS = count(1)


@dataclass
class People:
    """Two who are in, their room, and a file that is in S3 only."""

    chat: Chat
    alice: Person
    bob: Person
    room: str
    old_file: str
    old_content: bytes

    def notice(self) -> tuple[str, ...]:
        """Try everything at once, as people do, and return what works."""
        with ThreadPoolExecutor(4) as pool:
            talk = pool.submit(self._talk)
            others = [pool.submit(tried) for tried in (self._in, self._new, self._old)]
            logged_in, stored, opened = (other.result() for other in others)
            works = (logged_in, *talk.result(), stored, opened)
        return tuple(YES if well else NO for well in works)

    def _in(self) -> bool:
        said = self.chat.try_log_in("alice", ALICE)
        # Whatever is away: nobody is told that the password is wrong.
        assert said.status in {200, 0, 429, 500, 502, 503, 504}, said
        return said.status == 200

    def _talk(self) -> tuple[bool, bool]:
        text = f"number {next(_NUMBERS)}"
        sent = self.alice.send(self.room, text).status == 200
        return sent, sent and self.bob.hears(self.room, text, tries=int(PATIENCE))

    def _new(self) -> bool:
        content = os.urandom(2000)
        said = self.alice.upload(content)
        if said.status != 200:
            return False
        media_id = str(said.json()["content_uri"]).rpartition("/")[2]
        return self.alice.download(media_id).body == content

    def _old(self) -> bool:
        said = self.alice.download(self.old_file)
        assert said.status != 200 or said.body == self.old_content
        return said.status == 200


@pytest.fixture(scope="module")
def people(scale: Stack) -> People:
    chat = Chat(scale, timeout=PATIENCE)
    alice, bob = chat.log_in("alice", ALICE), chat.log_in("bob", BOB)
    room = alice.make_room(bob)
    assert bob.sync().status == 200
    content = os.urandom(5000)
    media_id = alice.put(content)
    clean(scale, "0s")
    return People(chat, alice, bob, room, media_id, content)


@contextmanager
def away(stack: Stack, services: tuple[str, ...]) -> Iterator[None]:
    """Kill them, and start them again at the end."""
    containers = [stack.container(service) for service in services]
    docker("kill", *containers)
    try:
        yield
    finally:
        docker("start", *containers)


def until_noticed(people: People, wanted: tuple[str, ...], *, seconds: float) -> None:
    """Wait until what people notice is this; what does not work, does not a second time, either."""
    end = time.monotonic() + seconds
    while (noticed := people.notice()) != wanted:
        told = dict(zip(COLUMNS, noticed, strict=True))
        assert time.monotonic() < end, f"not within {seconds} s, but {told}"
    assert NO not in wanted or people.notice() == wanted


@pytest.mark.parametrize("row", AWAY)
def test_what_people_notice(scale: Stack, people: People, row: str) -> None:
    services, wanted = AWAY[row]
    begun = time.monotonic()
    with away(scale, services):
        until_noticed(people, wanted, seconds=NOTICED_WITHIN)
        noticed = time.monotonic()
    until_noticed(people, (YES,) * len(COLUMNS), seconds=WELL_WITHIN)
    print(f"{row}: {noticed - begun:.1f} s, well after {time.monotonic() - noticed:.1f} s")  # noqa: T201 - for who runs it


def test_a_message_that_waits_for_replication_is_sent_when_it_is_back(
    scale: Stack, people: People
) -> None:
    patient = Chat(scale, timeout=120.0).log_in("alice", ALICE)
    with ThreadPoolExecutor(1) as pool:
        with away(scale, ("replication",)):
            sending = pool.submit(patient.send, people.room, "patience")
            until_noticed(people, AWAY["`replication`"][1], seconds=NOTICED_WITHIN)
            assert not sending.done()
        assert sending.result().status == 200

    assert people.bob.hears(people.room, "patience", tries=30)


def test_who_logs_in_while_the_main_process_is_away_gets_in_when_it_is_back(
    scale: Stack, people: People
) -> None:
    patient = Chat(scale, timeout=150.0)
    with ThreadPoolExecutor(1) as pool:
        with away(scale, ("synapse-main",)):
            begun = time.monotonic()
            logging_in = pool.submit(patient.try_log_in, "alice", ALICE)
            assert not wait([logging_in], timeout=5.0).done
        until(
            lambda: patient.call("GET", "/health", at="synapse-main").status == 200,
            seconds=ALL_WELL_WITHIN,
        )
        # Synapse asks for the last time after 63 s (replication/http/_base.py).
        in_time = time.monotonic() - begun < 55.0
        assert logging_in.result().status in ({200} if in_time else {200, 502})

    until_noticed(people, (YES,) * len(COLUMNS), seconds=WELL_WITHIN)


def test_a_machine_with_all_of_it_comes_back_by_itself(scale: Stack, people: People) -> None:
    """In any order: the engine knows of none when it starts what was running."""
    running = scale.compose("ps", "--quiet").split()
    assert len(running) > 15
    docker("kill", *running)
    random.shuffle(running)
    begun = time.monotonic()
    docker("start", *running)
    until_noticed(people, (YES,) * len(COLUMNS), seconds=ALL_WELL_WITHIN)
    print(f"all of it: well after {time.monotonic() - begun:.1f} s")  # noqa: T201 - for who runs it
