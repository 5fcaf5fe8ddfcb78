"""What becomes of an account in Lalepass becomes of it on the homeserver, in seconds."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from tests.e2e.parts import Homeserver, Person, add_people
from tests.e2e.push_gateway import PushGateway
from tests.e2e.sessions import (
    CLIENT,
    assert_locked,
    log_in,
    mxid,
    orders_waiting,
    set_password,
    wait_for,
    who_am_i,
)
from tests.e2e.waiting import until
from tools.gate import Gate, Mode
from tools.processes import Process
from tools.service import Service

pytestmark = pytest.mark.e2e

ACKNOWLEDGEMENT = b"POST /v1/orders/acknowledge"
PASSWORD = "lifecycle-11-password"
OTHER = "another-12-password"
PEOPLE = ("dora", "emil", "fay", "gus", "hal")


@pytest.fixture(scope="module", autouse=True)
def people(service: Service) -> None:
    add_people(service, dict.fromkeys(PEOPLE, Person(PASSWORD)))


def reported(service: Service, device_id: str, condition: str) -> bool:
    """Whether the service was told so of a session."""
    query = f"SELECT 1 FROM sign_ins WHERE device_id = ? AND {condition}"  # noqa: S608 - ours
    with closing(sqlite3.connect(service.directory / "lalepass.db", timeout=10)) as database:
        return database.execute(query, (device_id,)).fetchone() is not None


def test_who_is_disabled_is_locked_and_who_is_enabled_goes_on(
    homeserver: Homeserver, gate: Gate, service: Service
) -> None:
    assert gate.mode is Mode.OPEN
    disabled, other = log_in(homeserver, "dora", PASSWORD), log_in(homeserver, "emil", PASSWORD)
    token = disabled["access_token"]
    since = homeserver.call("GET", f"{CLIENT}/sync?timeout=0", token=token).json()["next_batch"]
    with ThreadPoolExecutor(1) as pool:
        # His client waits for news while it happens.
        sync = f"{CLIENT}/sync?timeout=3000&since={since}"
        waiting = pool.submit(homeserver.call, "GET", sync, token=token)
        service.run("user", "disable", "dora")
        locked = wait_for(homeserver, disabled, 401)
        waiting.result(timeout=30)

    assert_locked(locked)
    assert_locked(homeserver.call("GET", f"{CLIENT}/sync?since={since}", token=token))
    assert who_am_i(homeserver, other).status_code == 200

    service.run("user", "enable", "dora")
    wait_for(homeserver, disabled, 200)
    assert homeserver.call("GET", f"{CLIENT}/sync?since={since}", token=token).status_code == 200


def test_while_the_service_is_away_locks_stay_and_others_go_on(
    homeserver: Homeserver, gate: Gate, service: Service, service_process: Process
) -> None:
    disabled, other = log_in(homeserver, "dora", PASSWORD), log_in(homeserver, "emil", PASSWORD)
    service.run("user", "disable", "dora")
    wait_for(homeserver, disabled, 401)
    assert gate.mode is Mode.OPEN

    service_process.stop()
    try:
        for _ in range(20):
            assert_locked(who_am_i(homeserver, disabled))
            assert who_am_i(homeserver, other).status_code == 200
    finally:
        service_process.start()
        service_process.wait_until_healthy()

    service.run("user", "enable", "dora")
    wait_for(homeserver, disabled, 200)


@pytest.mark.parametrize("mode", [Mode.SHUT, Mode.HUNG, Mode.GARBAGE, Mode.WRONG_TOKEN])
def test_what_happened_during_an_outage_is_done_after_it(
    homeserver: Homeserver, gate: Gate, service: Service, mode: Mode
) -> None:
    session = log_in(homeserver, "fay", PASSWORD)
    gate.mode = mode
    service.run("user", "disable", "fay")

    gate.mode = Mode.OPEN
    assert_locked(wait_for(homeserver, session, 401))

    service.run("user", "enable", "fay")
    wait_for(homeserver, session, 200)


def test_a_connection_that_dies_without_a_word_is_given_up(
    homeserver: Homeserver, gate: Gate, service: Service
) -> None:
    """Nobody says that it is cut, so TCP would wait for a quarter of an hour."""
    session = log_in(homeserver, "fay", PASSWORD)
    gate.cut_silently()
    service.run("user", "disable", "fay")

    assert_locked(wait_for(homeserver, session, 401))

    gate.cut_silently()
    service.run("user", "enable", "fay")
    wait_for(homeserver, session, 200)


def test_signed_out_everywhere_is_done_once_and_spares_who_comes_after(
    homeserver: Homeserver, gate: Gate, service: Service
) -> None:
    """S18: by the device handler, and by the time that is noted with each token."""
    assert gate.mode is Mode.OPEN
    old = [log_in(homeserver, "emil", PASSWORD), log_in(homeserver, "emil", PASSWORD)]
    pusher = {
        "kind": "http",
        "app_id": "example.test",
        "app_display_name": "Test",
        "device_display_name": "phone",
        "pushkey": "emils",
        "lang": "en",
        "data": {"url": "https://push.example/_matrix/push/v1/notify"},
    }
    token = old[0]["access_token"]
    set_up = homeserver.call("POST", f"{CLIENT}/pushers/set", pusher, token=token)
    assert set_up.status_code == 200, set_up.text
    before = homeserver.config.log.read_text().count(f"Signed {'emil'} out everywhere")

    set_password(service, "emil", OTHER)
    for session in old:
        gone = wait_for(homeserver, session, 401)
        # not a lock: there is nothing to come back to
        assert gone.json()["errcode"] == "M_UNKNOWN_TOKEN"
        assert gone.json()["soft_logout"] is False
    new = log_in(homeserver, "emil", OTHER)
    until(lambda: orders_waiting(service, "synapse") == 0, what="the order is acknowledged")

    assert homeserver.devices(mxid("emil")) == {new["device_id"]}
    assert homeserver.rows("SELECT 1 FROM pushers WHERE user_name = ?", mxid("emil")) == []
    assert who_am_i(homeserver, new).status_code == 200
    log = homeserver.config.log.read_text()
    assert log.count("Signed emil out everywhere") == before + 1


def test_an_order_that_is_repeated_is_carried_out_once(
    homeserver: Homeserver, gate: Gate, service: Service
) -> None:
    """The acknowledgement is lost: the order comes again, and again."""
    old = log_in(homeserver, "gus", PASSWORD)
    gate.lost = ACKNOWLEDGEMENT
    losses = gate.losses
    set_password(service, "gus", OTHER)
    wait_for(homeserver, old, 401)
    new = log_in(homeserver, "gus", OTHER)

    until(lambda: gate.losses >= losses + 3, what="three acknowledgements are lost")
    assert orders_waiting(service, "synapse") == 1
    assert who_am_i(homeserver, new).status_code == 200
    # others are not held up by it
    other = log_in(homeserver, "hal", PASSWORD)
    service.run("user", "disable", "hal")
    assert_locked(wait_for(homeserver, other, 401))
    service.run("user", "enable", "hal")

    gate.lost = b""
    until(lambda: orders_waiting(service, "synapse") == 0, what="the order is acknowledged")
    assert who_am_i(homeserver, new).status_code == 200
    assert homeserver.config.log.read_text().count("Signed gus out everywhere") == 1


def test_a_changed_profile_is_pushed_without_a_login(
    homeserver: Homeserver, gate: Gate, service: Service
) -> None:
    assert gate.mode is Mode.OPEN
    log_in(homeserver, "hal", PASSWORD)
    addresses = "SELECT address FROM user_threepids WHERE user_id = ?"

    service.run("user", "edit", "hal", "--add-email", "hal@pushed.example")
    until(
        lambda: homeserver.rows(addresses, mxid("hal")) == [("hal@pushed.example",)],
        what="the address is pushed",
    )

    service.run("user", "edit", "hal", "--remove-email", "hal@pushed.example")
    until(lambda: homeserver.rows(addresses, mxid("hal")) == [], what="it is taken away")


def test_who_signs_in_and_out_is_reported(
    homeserver: Homeserver, gate: Gate, service: Service
) -> None:
    assert gate.mode is Mode.OPEN
    session = log_in(homeserver, "hal", PASSWORD)
    device = session["device_id"]
    out = homeserver.call("POST", f"{CLIENT}/logout", {}, token=session["access_token"])
    assert out.status_code == 200

    both = "signed_in_at IS NOT NULL AND signed_out_at IS NOT NULL AND ip = '127.0.0.1'"
    browser = "user_agent LIKE 'python-httpx/%'"
    until(
        lambda: reported(service, device, f"{both} AND {browser}"),
        what="the report of a login and a logout",
    )


def test_reports_wait_while_the_service_is_away(
    homeserver: Homeserver, gate: Gate, service: Service
) -> None:
    session = log_in(homeserver, "hal", PASSWORD)
    gate.mode = Mode.SHUT
    out = homeserver.call("POST", f"{CLIENT}/logout", {}, token=session["access_token"])
    assert out.status_code == 200

    gate.mode = Mode.OPEN

    until(
        lambda: reported(service, session["device_id"], "signed_out_at IS NOT NULL"),
        what="the report of a logout",
    )


@pytest.fixture
def push_gateway() -> Iterator[PushGateway]:
    with PushGateway() as gateway:
        yield gateway


def test_a_locked_member_of_a_busy_room_costs_nobody_else_a_push(
    homeserver: Homeserver, gate: Gate, service: Service, push_gateway: PushGateway
) -> None:
    """SYNAPSE.md, S17: the pusher pool asks about each member in one loop, outside any `try`."""
    assert gate.mode is Mode.OPEN
    names = ("dora", "fay", "gus", "hal")
    set_password(service, "gus", PASSWORD)
    until(lambda: orders_waiting(service, "synapse") == 0, what="the order is carried out")
    writer = log_in(homeserver, "dora", PASSWORD)
    members = {name: log_in(homeserver, name, PASSWORD) for name in names[1:]}
    room = busy_room(homeserver, writer, members)
    for name, session in members.items():
        body = push_gateway.pusher(name)
        token = session["access_token"]
        assert (
            homeserver.call("POST", f"{CLIENT}/pushers/set", body, token=token).status_code == 200
        )
    service.run("user", "disable", "fay")
    wait_for(homeserver, members["fay"], 401)

    messages = 8
    for number in range(messages):
        path = f"{CLIENT}/rooms/{room}/send/m.room.message/m{number}"
        body = {"msgtype": "m.text", "body": f"message {number}"}
        sent = homeserver.call("PUT", path, body, token=writer["access_token"])
        assert sent.status_code == 200, sent.text
        event = sent.json()["event_id"]
        # and who reads it, within whose request the pool asks about him
        receipt = f"{CLIENT}/rooms/{room}/receipt/m.read/{event}"
        until(
            lambda number=number: all(  # type: ignore[misc]  # bound now
                push_gateway.notified[name] == number + 1 for name in ("gus", "hal")
            ),
            what=f"push {number + 1} reaches gus and hal",
        )
        token = members["hal"]["access_token"]
        assert homeserver.call("POST", receipt, {}, token=token).status_code == 200

    assert push_gateway.notified == {"gus": messages, "hal": messages}
    assert "Exception in pusher" not in homeserver.config.log.read_text()
    service.run("user", "enable", "fay")
    wait_for(homeserver, members["fay"], 200)


def busy_room(
    homeserver: Homeserver, writer: dict[str, Any], members: dict[str, dict[str, Any]]
) -> str:
    body = {"preset": "public_chat", "invite": [mxid(name) for name in members]}
    made = homeserver.call("POST", f"{CLIENT}/createRoom", body, token=writer["access_token"])
    assert made.status_code == 200, made.text
    room: str = made.json()["room_id"]
    everything = {"actions": ["notify"]}
    for session in members.values():
        token = session["access_token"]
        joined = homeserver.call("POST", f"{CLIENT}/rooms/{room}/join", {}, token=token)
        assert joined.status_code == 200, joined.text
        rule = f"{CLIENT}/pushrules/global/room/{room}"
        assert homeserver.call("PUT", rule, everything, token=token).status_code == 200
    return room
