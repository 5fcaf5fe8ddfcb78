"""Who logs in with Synapse's own database, and when."""

import itertools
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import FAILED_ATTEMPTS, password_of
from tests.e2e.parts import (
    SERVER_NAME,
    Door,
    Homeserver,
    by_email,
    by_msisdn,
    register_locally,
    statuses,
)
from tests.e2e.scripted import ScriptedService

pytestmark = pytest.mark.e2e

NUMBERS = itertools.count()
ROOT = f"@root:{SERVER_NAME}"
OWN = "root's own"


@pytest.fixture(scope="module")
def root(lenient: Homeserver, scripted: ScriptedService) -> Homeserver:
    """The homeserver with a break-glass administrator, whose name somebody has at Lalepass, too."""
    register_locally(lenient, "root", OWN, admin=True)
    lenient.add_address(ROOT, "email", "root@x.org")
    lenient.add_address(ROOT, "msisdn", "491700000001")
    scripted.add("root", emails=["other-root@x.org", "root@x.org"])
    return lenient


@pytest.fixture
def away(scripted: ScriptedService) -> Iterator[ScriptedService]:
    scripted.up = False
    yield scripted
    scripted.up = True


DOORS: list[Door] = ["root", "ROOT", ROOT, by_email("root@x.org"), by_msisdn("491700000001")]


def test_s1_s16_local_users_are_never_sent_out(root: Homeserver, scripted: ScriptedService) -> None:
    asked = len(scripted.asked)

    for door in DOORS:
        assert root.log_in(door, OWN).status_code == 200, door
    for door in (ROOT, by_email("root@x.org")):
        assert root.log_in(door, "right-7").status_code == 403, door

    assert len(scripted.asked) == asked


@pytest.mark.usefixtures("away")
def test_s4_local_users_log_in_while_lalepass_is_away(root: Homeserver) -> None:
    for door in DOORS:
        assert root.log_in(door, OWN).status_code == 200, door
    login = root.log_in("root", OWN).json()
    assert root.delete_device(login, "wrong").status_code == 401
    assert root.delete_device(login, OWN).status_code == 200


def test_nobody_at_lalepass_gets_a_local_users_account(root: Homeserver) -> None:
    answer = root.log_in(by_email("other-root@x.org"), "right-7")

    assert (answer.status_code, answer.json()["errcode"]) == (403, "M_FORBIDDEN")
    assert "on this server alone" in answer.json()["error"]
    assert root.links(ROOT) == set()


def test_s3_with_try_local_the_database_is_asked_and_the_others_pay_for_it(
    lenient: Homeserver, scripted: ScriptedService, away: ScriptedService
) -> None:
    """Who has no password there is told that it is wrong, and that counts."""
    register_locally(lenient, "elsa", "elsa's own")
    lenient.add_address(f"@elsa:{SERVER_NAME}", "email", "elsa@x.org")
    right = scripted.add("elias")

    assert lenient.log_in("elsa", "elsa's own").status_code == 200
    assert lenient.log_in(by_email("elsa@x.org"), "elsa's own").status_code == 200
    assert lenient.log_in("elsa", "wrong").status_code == 403
    answers = [lenient.log_in("elias", right) for _ in range(FAILED_ATTEMPTS + 2)]
    assert statuses(answers) == [403] * FAILED_ATTEMPTS + [429] * 2

    away.up = True
    held_up = lenient.log_in("elias", right)
    assert (held_up.status_code, held_up.json()["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert lenient.log_in(f"@elias:{SERVER_NAME}", right).status_code == 429


def set_password(homeserver: Homeserver, user: str, old: str, new: str) -> int:
    """Change the password at the homeserver, as a client does. Returns the status."""
    token = homeserver.log_in(user, old).json()["access_token"]
    path = "/_matrix/client/v3/account/password"
    asked = homeserver.call("POST", path, {"new_password": new}, token=token)
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": old,
        "session": asked.json().get("session"),
    }
    body = {"new_password": new, "auth": auth, "logout_devices": False}
    return homeserver.call("POST", path, body, token=token).status_code


def test_lesson_7_s11_without_the_local_database_there_is_no_second_password(
    homeserver: Homeserver,
) -> None:
    token = homeserver.log_in("carol", password_of("carol")).json()["access_token"]

    capabilities = homeserver.call("GET", "/_matrix/client/v3/capabilities", token=token).json()

    assert capabilities["capabilities"]["m.change_password"] == {"enabled": False}
    assert set_password(homeserver, "carol", password_of("carol"), "a second one") == 403
    assert homeserver.log_in("carol", "a second one").status_code == 403


def test_lesson_7_s11_with_the_local_database_there_may_be_two(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    """Why the README wants `localdb_enabled: false`: the second goes on after Lalepass says no."""
    right = scripted.add("twice")

    assert set_password(lenient, "twice", right, "a second one") == 200

    del scripted.people["twice"]
    assert lenient.log_in("twice", right).status_code == 403
    assert lenient.log_in("twice", "a second one").status_code == 200
