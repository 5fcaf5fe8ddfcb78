"""Somebody who is disabled in Lalepass gets in by no door of a real Synapse."""

import bcrypt
import pytest

from tests.e2e.parts import Homeserver, Person, add_people, by_email, by_name
from tests.e2e.sessions import CLIENT, assert_locked, mxid, wait_for, who_am_i
from tools.gate import Gate, Mode
from tools.service import Service

pytestmark = pytest.mark.e2e

PASSWORD = "ousted-13-password"
LOCAL = "a password from before Lalepass"


def test_lesson_7_who_is_disabled_gets_in_by_no_door(
    homeserver: Homeserver, gate: Gate, service: Service
) -> None:
    """By the password, that of before, a name, an address, a session, its renewal, or UIA."""
    assert gate.mode is Mode.OPEN
    add_people(service, {"ousted": Person(PASSWORD, emails=["ousted@x.org"])})
    body = {
        "type": "m.login.password",
        "identifier": by_name("ousted"),
        "password": PASSWORD,
        "refresh_token": True,
    }
    session = homeserver.call("POST", f"{CLIENT}/login", body).json()
    assert who_am_i(homeserver, session).status_code == 200
    before = homeserver.devices(mxid("ousted"))
    hashed = bcrypt.hashpw(LOCAL.encode(), bcrypt.gensalt(4)).decode()
    homeserver.write("UPDATE users SET password_hash = ? WHERE name = ?", hashed, mxid("ousted"))

    service.run("user", "disable", "ousted")
    assert_locked(wait_for(homeserver, session, 401))

    for door in ("ousted", mxid("ousted"), by_email("ousted@x.org")):
        right = homeserver.log_in(door, PASSWORD)
        assert (right.status_code, right.json()["errcode"]) == (403, "M_USER_DEACTIVATED")
    assert homeserver.log_in("ousted", LOCAL).status_code == 403
    renewal = {"refresh_token": session["refresh_token"]}
    renewed = homeserver.call("POST", f"{CLIENT}/refresh", renewal)
    if renewed.status_code == 200:  # Synapse asks nobody, but the new one opens nothing either
        session |= renewed.json()
    assert_locked(who_am_i(homeserver, session))
    device = f"{CLIENT}/devices/{session['device_id']}"
    assert_locked(homeserver.call("DELETE", device, {}, token=session["access_token"]))
    assert homeserver.devices(mxid("ousted")) == before
