"""Two generic workers, a media worker, a sender and a background worker are one homeserver."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import Authority
from tests.e2e.scale.conftest import OTHER, PASSWORD
from tests.e2e.scale.far import FarServer
from tests.e2e.scale.site import ANSWERING, GENERIC, Chat
from tests.e2e.scale.talking import Reader, join, room_of, send
from tests.e2e.sessions import CLIENT, assert_locked, gone, log_in, mxid, wait_for
from tests.e2e.waiting import until

pytestmark = pytest.mark.e2e


def test_people_log_in_through_each_generic_worker(site: Chat) -> None:
    site.wait_until_well()
    mark = site.proxy.mark()

    for _ in range(4):
        assert log_in(site.door, "ada", PASSWORD)["user_id"] == mxid("ada")
        assert site.door.log_in("ada", OTHER).status_code == 403

    until(
        lambda: set(site.proxy.answered("POST", f"{CLIENT}/login", since=mark)) == set(GENERIC),
        what="both of them answered, and nobody else",
    )


def test_what_is_said_through_one_worker_is_read_through_the_other(site: Chat) -> None:
    ada, bruno = log_in(site.door, "ada", PASSWORD), log_in(site.door, "bruno", PASSWORD)
    room = room_of(site.door, ada, "bruno")
    join(site.door, bruno, room)
    one, other = (site.at(name) for name in GENERIC)
    for writes, reads in ((one, other), (other, one)):
        reader = Reader(reads, bruno)
        text = f"by-{writes.url[-5:]}"
        assert send(writes, ada, room, text).status_code == 200
        until(lambda r=reader, t=text: r.sees(room, t), what=text)  # type: ignore[misc]  # bound now

    # And through the proxy, which leads each of them to the same worker again and again.
    mark, reader = site.proxy.mark(), Reader(site.door, bruno)
    assert send(site.door, ada, room, "by-the-proxy").status_code == 200
    until(lambda: reader.sees(room, "by-the-proxy"), what="it is read")
    reader.sees(room, "nothing")
    until(
        lambda: len(site.proxy.answered("GET", f"{CLIENT}/sync", since=mark)) >= 3,
        what="what the proxy says about it",
    )
    assert len(set(site.proxy.answered("GET", f"{CLIENT}/sync", since=mark))) == 1


def test_who_is_locked_is_so_in_every_process(site: Chat) -> None:
    session, other = log_in(site.door, "clara", PASSWORD), log_in(site.door, "ada", PASSWORD)
    path = "/_matrix/client/v1/media/config"
    for name in ANSWERING:
        wait_for(site.at(name), session, 200)

    def media(who: dict[str, Any]) -> httpx.Response:
        return site.at("media").call("GET", path, token=who["access_token"])

    assert media(session).status_code == 200

    site.lalepass.disable("clara")

    for name in ANSWERING:
        assert_locked(wait_for(site.at(name), session, 401))
        wait_for(site.at(name), other, 200)
    until(lambda: media(session).status_code == 401, what="she gets no media")
    assert_locked(media(session))
    assert media(other).status_code == 200
    assert site.door.log_in("clara", PASSWORD).status_code == 403

    site.lalepass.enable("clara")
    for name in ANSWERING:
        wait_for(site.at(name), session, 200)


def test_who_is_signed_out_is_so_in_every_process(site: Chat) -> None:
    sessions = [log_in(site.at(name), "dora", PASSWORD) for name in GENERIC]
    for session in sessions:  # each process has seen each of them, and may remember it
        for name in ANSWERING:
            wait_for(site.at(name), session, 200)

    site.lalepass.run("user", "sign-out", "dora")

    for session in sessions:
        for name in ANSWERING:
            until(
                lambda n=name, s=session: gone(site.at(n), s),  # type: ignore[misc]  # bound now
                what=f"a session is over on {name}",
            )
    new = log_in(site.door, "dora", PASSWORD)
    for name in ANSWERING:
        wait_for(site.at(name), new, 200)


def test_who_is_new_is_found_by_others(site: Chat) -> None:
    """The background worker puts them into the directory."""
    ada, emil = log_in(site.door, "ada", PASSWORD), log_in(site.door, "emil", PASSWORD)
    # Whoever is in no room with somebody else is nobody's business.
    join(site.door, emil, room_of(site.door, ada, "emil"))
    body = {"search_term": "emil"}

    def found() -> list[str]:
        path = f"{CLIENT}/user_directory/search"
        answer = site.door.call("POST", path, body, token=ada["access_token"])
        assert answer.status_code == 200, answer.text
        return [result["user_id"] for result in answer.json()["results"]]

    until(lambda: found() == [mxid("emil")], what="he is in the directory")


def test_the_sender_sends_to_other_servers_and_nobody_else_does(site: Chat, tmp_path: Path) -> None:
    ada, sender = log_in(site.door, "ada", PASSWORD), site.synapse["sender"]
    certificate, key = Authority().issue("127.0.0.1").write(tmp_path, "far")
    with FarServer(certificate, key) as far:

        def tell(text: str) -> None:
            path = f"{CLIENT}/sendToDevice/org.example.test/{text}"
            body = {"messages": {f"@zoe:{far.name}": {"ZOE": {"text": text}}}}
            answer = site.door.call("PUT", path, body, token=ada["access_token"])
            assert answer.status_code == 200, answer.text

        def heard() -> list[str]:
            return [entry["messages"][f"@zoe:{far.name}"]["ZOE"]["text"] for entry in far.received]

        tell("first")
        until(lambda: heard() == ["first"], what="it is sent")
        outbox = "SELECT count(*) FROM device_federation_outbox"
        until(lambda: site.sql(outbox) == ["0"], what="it need not be sent again")
        sender.kill()
        tell("second")
        # What is said to a sender that is away is in the database, and waits for it.
        sender.start()
        until(lambda: heard() == ["first", "second"], what="the next one is sent, once")
    assert f"TX [{far.name}]" in sender.log.read_text(encoding="utf-8")
