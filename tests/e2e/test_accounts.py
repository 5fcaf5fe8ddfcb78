"""Whose Matrix account is whose, on a real Synapse."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.parts import SERVER_NAME, Door, Homeserver, by_email, register_locally, statuses
from tests.e2e.scripted import ScriptedService

pytestmark = pytest.mark.e2e

NUMBERS = itertools.count()
HASH = "$2b$12$abcdefghijklmnopqrstuu5X1Qm5nQGxG2Yw8Zc9Qp1r2s3t4u5v6"


def mxid_of(localpart: str) -> str:
    return f"@{localpart}:{SERVER_NAME}"


def at_once(number: int, homeserver: Homeserver, localpart: str, password: str) -> list[Any]:
    barrier = threading.Barrier(number)

    def log_in(_: int) -> Any:
        barrier.wait(timeout=30)
        return homeserver.log_in(localpart, password)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(log_in, range(number)))


@pytest.mark.parametrize("backend", ["lower", "mixed"])
@pytest.mark.parametrize("account", ["none", "lower", "historic"])
def test_lesson_2_case_s5(
    lenient: Homeserver, scripted: ScriptedService, account: str, backend: str
) -> None:
    """{typed case} x {backend case} x {account exists lower / historic mixed / not} x {door}.

    S5: Synapse believes whatever MXID it is given; so it is one that is there, in its spelling.
    """
    name = f"case{next(NUMBERS)}"
    password = scripted.add(name, emails=[f"{name}@x.org"])
    if backend == "mixed":  # against the contract
        scripted.people[name].user["localpart"] = name.title()
    exists = {"none": name, "lower": name, "historic": name.title()}[account]
    if account != "none":
        lenient.add_account(mxid_of(exists))
    before = lenient.accounts()

    typed = [name, name.title(), name.upper(), mxid_of(name), mxid_of(name.title())]
    doors: list[Door] = [*typed, by_email(f"{name}@x.org"), by_email(f"{name.upper()}@X.ORG")]
    answers = [lenient.log_in(door, password) for door in doors[:: 1 if backend == "lower" else 3]]

    if backend == "lower":
        assert {(answer.status_code, answer.json()["user_id"]) for answer in answers} == {
            (200, mxid_of(exists))
        }
        whoami = "/_matrix/client/v3/account/whoami"
        token = answers[-1].json()["access_token"]
        assert lenient.call("GET", whoami, token=token).json()["user_id"] == mxid_of(exists)
        assert lenient.accounts() == before | {mxid_of(exists)}
        assert lenient.links(mxid_of(exists)) == {f"id-of-{name}"}
    else:
        assert statuses(answers) == [403] * len(answers)
        assert lenient.accounts() == before


def test_lesson_6_an_account_with_a_password_of_its_own_is_not_taken(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    """With `link_existing: if_no_password`, the default."""
    password = scripted.add("owner")
    register_locally(lenient, "owner", "the owner's own")
    devices = lenient.devices(mxid_of("owner"))

    answer = lenient.log_in("owner", password)

    assert (answer.status_code, answer.json()["errcode"]) == (403, "M_FORBIDDEN")
    assert "is not yours, as far as is known" in answer.json()["error"]
    assert lenient.devices(mxid_of("owner")) == devices
    assert lenient.links(mxid_of("owner")) == set()
    # Of the owner, Lalepass says that the password is wrong; then Synapse's own database is asked.
    assert lenient.log_in("owner", "the owner's own").status_code == 200


def test_lesson_6_an_account_without_a_password_is_taken(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    password = scripted.add("adopted")
    lenient.add_account(mxid_of("adopted"))

    assert lenient.log_in("adopted", password).status_code == 200
    assert lenient.links(mxid_of("adopted")) == {"id-of-adopted"}

    lenient.write("UPDATE users SET password_hash = ? WHERE name = ?", HASH, mxid_of("adopted"))
    assert lenient.log_in("adopted", password).status_code == 200


def test_lesson_6_an_account_of_single_sign_on_is_not_taken(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    """It has no password; the admin API writes what Synapse writes when SSO makes an account."""
    password = scripted.add("ssouser")
    register_locally(lenient, "bot-sso", "keeper's own", admin=True)
    admin = lenient.log_in("bot-sso", "keeper's own").json()["access_token"]
    ids = [{"auth_provider": "oidc-github", "external_id": "9"}]
    path = f"/_synapse/admin/v2/users/{mxid_of('ssouser')}"
    assert lenient.call("PUT", path, {"external_ids": ids}, token=admin).status_code == 201

    answer = lenient.log_in("ssouser", password)

    assert (answer.status_code, answer.json()["errcode"]) == (403, "M_FORBIDDEN")
    assert lenient.call("GET", path, token=admin).json()["external_ids"] == ids
    # An administrator can say that it is the same person.
    both = [*ids, {"auth_provider": "lalepass", "external_id": "id-of-ssouser"}]
    assert lenient.call("PUT", path, {"external_ids": both}, token=admin).status_code == 200
    assert lenient.log_in("ssouser", password).status_code == 200


@pytest.mark.parametrize("password_hash", [None, HASH], ids=["no password", "password"])
def test_lesson_6_with_never_no_account_is_taken(
    strict: Homeserver, scripted: ScriptedService, password_hash: str | None
) -> None:
    name = f"before{next(NUMBERS)}"
    password = scripted.add(name)
    strict.add_account(mxid_of(name), password_hash=password_hash)

    answer = strict.log_in(name, password)

    assert (answer.status_code, answer.json()["errcode"]) == (403, "M_FORBIDDEN")
    assert "is not yours, as far as is known" in answer.json()["error"]
    assert strict.links(mxid_of(name)) == set()


def test_lesson_6_who_gets_the_name_of_somebody_does_not_get_the_account(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    """And an administrator can say that it is the same person, with Synapse's admin API."""
    first = scripted.add("passedon")
    assert lenient.log_in("passedon", first).status_code == 200
    second = scripted.add("passedon", "another-8", id="another-id")

    refused = lenient.log_in("passedon", second)

    assert (refused.status_code, refused.json()["errcode"]) == (403, "M_FORBIDDEN")
    assert "belongs to somebody else" in refused.json()["error"]
    register_locally(lenient, "bot-keeper", "keeper's own", admin=True)
    admin = lenient.log_in("bot-keeper", "keeper's own").json()["access_token"]
    path = f"/_synapse/admin/v2/users/{mxid_of('passedon')}"
    told = lenient.call("GET", path, token=admin).json()["external_ids"]
    assert told == [{"auth_provider": "lalepass", "external_id": "id-of-passedon"}]
    link = [{"auth_provider": "lalepass", "external_id": "another-id"}]
    assert lenient.call("PUT", path, {"external_ids": link}, token=admin).status_code == 200
    assert lenient.log_in("passedon", second).status_code == 200
    path = "/_synapse/admin/v1/auth_providers/lalepass/users/another-id"
    found = lenient.call("GET", path, token=admin)
    assert found.json() == {"user_id": mxid_of("passedon")}


def test_a_link_to_a_user_of_another_name_lets_nobody_in(
    lenient: Homeserver, scripted: ScriptedService
) -> None:
    password = scripted.add("maiden")
    assert lenient.log_in("maiden", password).status_code == 200
    del scripted.people["maiden"]
    scripted.add("married", id="id-of-maiden")

    answer = lenient.log_in("married", password)

    assert (answer.status_code, answer.json()["errcode"]) == (403, "M_FORBIDDEN")
    assert "has another name" in answer.json()["error"]
    assert mxid_of("married") not in lenient.accounts()


@pytest.mark.parametrize(
    "column", [{"is_guest": 1}, {"appservice_id": "bridge"}], ids=["guest", "bridge"]
)
def test_lesson_6_accounts_of_guests_and_bridges_are_nobodys(
    lenient: Homeserver, scripted: ScriptedService, column: dict[str, object]
) -> None:
    name = f"special{next(NUMBERS)}"
    password = scripted.add(name, emails=[f"{name}@x.org"])
    lenient.add_account(mxid_of(name), **column)

    for door in (name, by_email(f"{name}@x.org")):
        answer = lenient.log_in(door, password)

        assert (answer.status_code, answer.json()["errcode"]) == (403, "M_FORBIDDEN")
        assert "is not a person's" in answer.json()["error"]
    assert lenient.devices(mxid_of(name)) == set()


@pytest.mark.parametrize("linked", [False, True], ids=["new", "linked"])
@pytest.mark.parametrize(
    ("column", "status", "errcode"),
    [("deactivated", 403, "M_USER_DEACTIVATED"), ("locked", 401, "M_USER_LOCKED")],
)
def test_s15_a_deactivated_or_locked_account_is_told_so(
    lenient: Homeserver,
    scripted: ScriptedService,
    column: str,
    status: int,
    errcode: str,
    *,
    linked: bool,
) -> None:
    name = f"{column}{next(NUMBERS)}"
    password = scripted.add(name)
    lenient.add_account(mxid_of(name), **{column: 1})
    if linked:
        lenient.write(
            "INSERT INTO user_external_ids VALUES ('lalepass', ?, ?)",
            f"id-of-{name}",
            mxid_of(name),
        )

    answer = lenient.log_in(name, password)

    assert (answer.status_code, answer.json()["errcode"]) == (status, errcode), answer.text
    assert lenient.devices(mxid_of(name)) == set()


def test_lesson_9_what_synapse_says_against_a_new_account_is_told_as_it_is(
    strict: Homeserver, scripted: ScriptedService
) -> None:
    """Numeric names, those of a bridge, a full server; and parallel first logins with `never`.

    Synapse would make each of them "Invalid username or password" (S2).
    """
    refusals = {
        "12345": (400, "M_INVALID_USERNAME", "reserved for guest users"),
        "bridge_zoe": (400, "M_EXCLUSIVE", "reserved by an application service"),
    }
    for name, (status, errcode, sentence) in refusals.items():
        answer = strict.log_in(name, scripted.add(name))
        assert (answer.status_code, answer.json()["errcode"]) == (status, errcode), answer.text
        assert sentence in answer.json()["error"]

    first = at_once(10, strict, "fresh", scripted.add("fresh"))
    assert statuses(first) == [200] * 10, [answer.text for answer in first]
    assert strict.links(mxid_of("fresh")) == {"id-of-fresh"}
    assert len(strict.devices(mxid_of("fresh"))) == 10
    # It is the activity of a session that counts.
    token = first[0].json()["access_token"]
    assert strict.call("GET", "/_matrix/client/v3/sync", token=token).status_code == 200

    full = strict.log_in("toolate", scripted.add("toolate"))
    assert (full.status_code, full.json()["errcode"]) == (403, "M_RESOURCE_LIMIT_EXCEEDED")
    assert full.json()["admin_contact"] == "mailto:admin@x.org"
    assert full.json()["limit_type"] == "monthly_active_user"
    for name in (*refusals, "toolate"):
        assert mxid_of(name) not in strict.accounts()
        assert strict.links(mxid_of(name)) == set()
