"""Synapse in several processes: each answers, hears of the others, and knows who is locked."""

from collections.abc import Iterator

import pytest

from tests.docker.people import ALICE, BOB, until
from tests.docker.scale.chat import ANSWERING, CLIENT, GENERIC, Chat, Person, answered
from tests.docker.stack import SERVER_NAME, Stack, docker
from tests.servers.test_routes import GENERIC as ANY_GENERIC
from tests.servers.test_routes import ROUTES

CAROL = "caroling-9"
MEDIA_CONFIG = "/_matrix/client/v1/media/config"


@pytest.fixture(scope="module")
def chat(scale: Stack) -> Chat:
    return Chat(scale)


@pytest.fixture(scope="module")
def alice(chat: Chat) -> Person:
    return chat.log_in("alice", ALICE)


@pytest.fixture(scope="module")
def bob(chat: Chat) -> Person:
    return chat.log_in("bob", BOB)


@pytest.fixture
def carol(scale: Stack, chat: Chat) -> Iterator[Person]:
    scale.add("carol", CAROL)
    yield chat.log_in("carol", CAROL)
    scale.lalepass("user", "delete", "carol", "--yes")


@pytest.mark.parametrize("worker", GENERIC)
def test_people_log_in_through_each_generic_worker(chat: Chat, worker: str) -> None:
    assert chat.log_in("alice", ALICE, at=worker).user_id == f"@alice:{SERVER_NAME}"
    assert chat.try_log_in("alice", "not it", at=worker).status == 403


def test_the_proxy_leads_logins_to_both(scale: Stack, chat: Chat) -> None:
    before = len(answered(scale, "POST", f"{CLIENT}/login"))
    for _ in range(4):
        chat.log_in("alice", ALICE)

    assert set(answered(scale, "POST", f"{CLIENT}/login")[before:]) == {"generic-1", "generic-2"}


@pytest.mark.parametrize(("writes", "reads"), [GENERIC, GENERIC[::-1]])
def test_what_is_said_through_one_worker_is_read_through_the_other(
    alice: Person, bob: Person, writes: str, reads: str
) -> None:
    room = alice.make_room(bob)
    assert bob.sync(at=reads).status == 200

    assert alice.send(room, f"by {writes}", at=writes).status == 200

    assert bob.hears(room, f"by {writes}", at=reads)


def test_somebody_syncs_with_the_same_worker(scale: Stack, chat: Chat, alice: Person) -> None:
    path = f"{CLIENT}/sync"
    before = len(answered(scale, "GET", path))
    for _ in range(3):
        assert alice.sync().status == 200
    assert chat.log_in("alice", ALICE).sync().status == 200

    met = answered(scale, "GET", path)[before:]
    assert len(met) == 4
    assert len(set(met)) == 1


def test_who_is_disabled_is_locked_in_every_process(
    scale: Stack, alice: Person, carol: Person
) -> None:
    doors = dict.fromkeys(ANSWERING, f"{CLIENT}/account/whoami")
    doors["synapse-media"] = MEDIA_CONFIG
    for door, path in doors.items():
        assert carol.call("GET", path, at=door).status == 200

    scale.lalepass("user", "disable", "carol")

    for door, path in doors.items():
        until(lambda d=door, p=path: carol.call("GET", p, at=d).status == 401, seconds=30)  # type: ignore[misc]  # bound now
        told = carol.call("GET", path, at=door).json()
        assert (told["errcode"], told["soft_logout"]) == ("M_USER_LOCKED", True)
        assert alice.call("GET", path, at=door).status == 200

    scale.lalepass("user", "enable", "carol")
    for door, path in doors.items():
        until(lambda d=door, p=path: carol.call("GET", p, at=d).status == 200, seconds=30)  # type: ignore[misc]  # bound now


def test_each_request_is_led_to_a_process_that_knows_it(scale: Stack, chat: Chat) -> None:
    """The table of tests/servers/test_routes.py, with the real processes behind the proxy."""
    unknown = []
    before = len(docker("logs", scale.container("proxy")).splitlines())
    # Names of ours: about those of others, somebody would be asked who is not there.
    for method, path, who in ((m, p.replace("x.org", SERVER_NAME), w) for m, p, w in ROUTES):
        said = chat.call(method, path, {} if method in {"POST", "PUT"} else None)
        assert said.status not in {0, 502, 503, 504}, (method, path, said)
        if who == ANY_GENERIC and b"M_UNRECOGNIZED" in said.body:
            unknown.append((method, path))

    lines = docker("logs", scale.container("proxy")).splitlines()[before:]
    # A client may log in meanwhile: nobody does here.
    led = [line.split()[1].partition("/")[2] for line in lines if len(line.split()) > 4]
    assert len(led) == len(ROUTES)
    wrong = [
        (*route[:2], met) for route, met in zip(ROUTES, led, strict=True) if met not in route[2]
    ]
    assert wrong == []
    assert unknown == []
