"""Names, addresses and administrators of a real Synapse follow Lalepass."""

import itertools
from typing import Any

import pytest

from tests.e2e.parts import SERVER_NAME, Homeserver, by_email, by_msisdn
from tests.e2e.scripted import ScriptedService
from tests.odd_input import ODD_USERS

pytestmark = pytest.mark.e2e

NUMBERS = itertools.count()


class Person:
    """A user of the scripted service, and the account on the homeserver."""

    def __init__(self, homeserver: Homeserver, scripted: ScriptedService, **said: Any) -> None:
        self.name = f"person{next(NUMBERS)}"
        self.mxid = f"@{self.name}:{SERVER_NAME}"
        self._homeserver = homeserver
        self._scripted = scripted
        self.password = scripted.add(self.name, **said)

    def becomes(self, **said: Any) -> None:
        """Log in with another profile."""
        self._scripted.add(self.name, **said)
        self.log_in()

    def log_in(self) -> dict[str, Any]:
        answer = self._homeserver.log_in(self.name, self.password)
        assert answer.status_code == 200, answer.text
        assert answer.json()["user_id"] == self.mxid
        return dict(answer.json())

    @property
    def profile(self) -> tuple[str | None, set[str], bool]:
        """Display name, addresses, administrator."""
        name = self._homeserver.rows(
            "SELECT displayname FROM profiles WHERE full_user_id = ?", self.mxid
        )
        admin = self._homeserver.rows("SELECT admin FROM users WHERE name = ?", self.mxid)
        return name[0][0], self._homeserver.addresses(self.mxid), bool(admin[0][0])


def test_accounts_are_in_step_after_each_login(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    person = Person(
        lenient, scripted, display_name="Peer", emails=["Peer@x.org"], phones=["491700000002"]
    )
    person.log_in()
    assert person.profile == ("Peer", {"peer@x.org", "491700000002"}, False)

    person.becomes(display_name="Peer G.", emails=["p@x.org", "gynt@x.org"], admin=True)
    assert person.profile == ("Peer G.", {"p@x.org", "gynt@x.org"}, True)
    token = person.log_in()["access_token"]
    assert lenient.call("GET", "/_synapse/admin/v2/users", token=token).status_code == 200

    person.becomes(emails=["p@x.org"])
    assert person.profile == (person.name, {"p@x.org"}, False)
    assert lenient.call("GET", "/_synapse/admin/v2/users", token=token).status_code == 403


def test_only_differences_are_written(lenient: Homeserver, scripted: ScriptedService) -> None:
    person = Person(lenient, scripted, display_name="Same", emails=["same@x.org"])
    person.log_in()
    query = "SELECT added_at FROM user_threepids WHERE user_id = ?"
    added = lenient.rows(query, person.mxid)
    begun = lenient.config.log.stat().st_size

    person.log_in()

    assert lenient.rows(query, person.mxid) == added
    with lenient.config.log.open() as log:
        log.seek(begun)
        text = log.read()
    assert "lalepass_profile" in text  # it was looked at
    assert "lalepass_keep" not in text
    assert "lalepass_add_addresses" not in text


def test_lesson_6_s10_an_address_is_not_taken_from_its_owner(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    owner = Person(lenient, scripted)
    owner.log_in()
    lenient.add_address(owner.mxid, "email", "shared@x.org")

    other = Person(lenient, scripted, emails=["shared@x.org", "own@x.org"])
    other.log_in()

    assert lenient.addresses(owner.mxid) == {"shared@x.org"}
    assert lenient.addresses(other.mxid) == {"own@x.org"}
    report = f"{other.mxid} is not given the email shared@x.org, which {owner.mxid} has"
    assert report in lenient.config.log.read_text()
    # By the address comes in whom Lalepass means, with nobody's password but theirs.
    answer = lenient.log_in(by_email("shared@x.org"), other.password)
    assert answer.json()["user_id"] == other.mxid


def test_what_people_have_added_themselves_stays(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    person = Person(lenient, scripted, emails=["said@x.org"])
    person.log_in()
    lenient.add_address(person.mxid, "email", "added@x.org")

    person.becomes(emails=[])

    assert lenient.addresses(person.mxid) == {"added@x.org"}


def test_with_an_address_go_the_mails_that_are_sent_to_it(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    person = Person(lenient, scripted, emails=["mailed@x.org"])
    person.log_in()
    lenient.write(
        "INSERT INTO pushers (id, user_name, profile_tag, kind, app_id, app_display_name,"
        " device_display_name, pushkey, ts, enabled, instance_name)"
        " VALUES (1000, ?, '', 'email', 'm.email', 'mail', 'mail', 'mailed@x.org', 0, 1, 'master')",
        person.mxid,
    )

    person.becomes(emails=[])

    assert lenient.rows("SELECT 1 FROM pushers WHERE user_name = ?", person.mxid) == []


def test_lesson_9_a_profile_that_can_not_be_written_fails_no_login(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    person = Person(lenient, scripted, display_name="Unlucky", emails=["unlucky@x.org"], admin=True)
    lenient.write(
        "CREATE TRIGGER broken BEFORE INSERT ON user_threepids"
        " WHEN NEW.address = 'unlucky@x.org' BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    try:
        person.log_in()
    finally:
        lenient.write("DROP TRIGGER broken")
    assert person.profile == ("Unlucky", set(), True)
    assert f"The emails of {person.mxid} could not be brought in step" in (
        lenient.config.log.read_text()
    )

    person.log_in()
    assert person.profile == ("Unlucky", {"unlucky@x.org"}, True)


@pytest.mark.parametrize(
    "user",
    [{}, {"display_name": None, "emails": [], "phones": [], "admin": False}, {"from_tomorrow": {}}],
    ids=["minimal", "nothing", "unknown fields"],
)
def test_lesson_9_minimal_and_newer_answers_are_logins(
    lenient: Homeserver, scripted: ScriptedService, user: dict[str, Any]
) -> None:
    person = Person(lenient, scripted, **user)
    person.log_in()

    assert person.profile == (person.name, set(), False)
    assert len(lenient.devices(person.mxid)) == 1


def test_lesson_4_stored_addresses_come_from_lalepass_only(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    person = Person(lenient, scripted, emails=["known@x.org"])
    person.log_in()
    before = lenient.rows("SELECT medium, address FROM user_threepids ORDER BY address")

    for odd in ODD_USERS[::3]:
        typed = odd.typed(SERVER_NAME)
        for door in (by_email(f"{typed}@x.org"), by_email(f"known@x.org{typed}")):
            assert 400 <= lenient.log_in(door, person.password).status_code < 500

    assert lenient.rows("SELECT medium, address FROM user_threepids ORDER BY address") == before


def test_s16_a_refused_address_is_asked_about_once(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    """And one that only Synapse knows a second time, with the MXID that has it."""
    person = Person(lenient, scripted, emails=["once@x.org"], phones=["491700000003"])
    person.log_in()
    lenient.add_address(person.mxid, "email", "self@x.org")

    for door in (by_email("once@x.org"), by_msisdn("491700000003")):
        asked = len(scripted.asked)
        assert lenient.log_in(door, "wrong").status_code == 403
        assert len(scripted.asked) == asked + 1
    answer = lenient.log_in(by_email("self@x.org"), person.password)
    assert (answer.status_code, answer.json()["user_id"]) == (200, person.mxid)
    assert scripted.asked[-2:] == [
        {"kind": "email", "address": "self@x.org"},
        {"kind": "user", "localpart": person.name},
    ]


def test_synapse_does_not_warn_about_the_links(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    person = Person(lenient, scripted)
    login = person.log_in()

    assert lenient.delete_device(login, person.password).status_code == 200

    assert "has an SSO mapping" not in lenient.config.log.read_text()
