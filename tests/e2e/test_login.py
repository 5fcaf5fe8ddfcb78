"""A person logs in to a real Synapse with a password that only Lalepass knows."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import nio  # type: ignore[import-untyped]  # it has no annotations
import pytest

from tests.e2e.conftest import FAILED_ATTEMPTS, password_of
from tests.e2e.parts import (
    SERVER_NAME,
    Door,
    Homeserver,
    by_email,
    by_msisdn,
    by_name,
    by_phone,
    statuses,
)
from tests.e2e.waiting import until
from tests.odd_input import ODD_USERS, OddUser
from tools.gate import Gate, Mode
from tools.service import Service

pytestmark = pytest.mark.e2e

ALICE = f"@alice:{SERVER_NAME}"
ODD_PASSWORDS = ["", " ", "\0", "a\0b", "\ud800", "x" * 513, "x" * 60_000]


@pytest.mark.parametrize(
    "identifier",
    [
        by_name("alice"),
        by_name(ALICE),
        by_name("Alice"),
        by_name(f"@ALICE:{SERVER_NAME}"),
        by_email("alice@x.org"),
        by_email("ALICE@X.ORG"),
        by_phone("DE", "0170 1234567"),
        by_msisdn("491701234567"),
    ],
    ids=lambda identifier: "-".join(identifier.values()),
)
def test_the_right_password_logs_in_however_the_account_is_named(
    homeserver: Homeserver, gate: Gate, identifier: dict[str, str]
) -> None:
    before = gate.checks

    answer = homeserver.log_in(identifier, password_of("alice"))

    assert answer.status_code == 200, answer.text
    assert answer.json()["user_id"] == ALICE
    assert gate.checks == before + 1
    whoami = homeserver.call(
        "GET", "/_matrix/client/v3/account/whoami", token=answer.json()["access_token"]
    )
    assert whoami.json()["user_id"] == ALICE


async def with_nio(homeserver: Homeserver, user: str, password: str, store: Path) -> Any:
    client = nio.AsyncClient(homeserver.url, user, store_path=str(store))
    try:
        return await client.login(password, device_name="nio")
    finally:
        await client.close()


async def with_nio_raw(homeserver: Homeserver, identifier: dict[str, str], password: str) -> Any:
    client = nio.AsyncClient(homeserver.url)
    try:
        return await client.login_raw(
            {"type": "m.login.password", "identifier": identifier, "password": password}
        )
    finally:
        await client.close()


@pytest.mark.parametrize("user", ["alice", "Alice", ALICE])
def test_matrix_nio_logs_in(homeserver: Homeserver, tmp_path: Path, user: str) -> None:
    wrong = asyncio.run(with_nio(homeserver, user, "not the password", tmp_path))
    right = asyncio.run(with_nio(homeserver, user, password_of("alice"), tmp_path))

    assert isinstance(wrong, nio.LoginError)
    assert wrong.status_code == "M_FORBIDDEN"
    assert isinstance(right, nio.LoginResponse)
    assert right.user_id == ALICE


@pytest.mark.parametrize(
    "identifier", [by_email("alice@x.org"), by_phone("DE", "0170 1234567")], ids=["email", "phone"]
)
def test_matrix_nio_logs_in_by_address(homeserver: Homeserver, identifier: dict[str, str]) -> None:
    right = asyncio.run(with_nio_raw(homeserver, identifier, password_of("alice")))

    assert isinstance(right, nio.LoginResponse)
    assert right.user_id == ALICE


@pytest.mark.parametrize("user", ["nobody-at-all", "@alice:evil.example", "al*ce"])
def test_matrix_nio_is_told_that_it_is_wrong(
    homeserver: Homeserver, tmp_path: Path, user: str
) -> None:
    answer = asyncio.run(with_nio(homeserver, user, password_of("alice"), tmp_path))

    assert isinstance(answer, nio.LoginError)
    assert answer.status_code == "M_FORBIDDEN"


def test_matrix_nio_is_told_of_an_outage(
    homeserver: Homeserver, gate: Gate, tmp_path: Path
) -> None:
    gate.mode = Mode.SHUT

    answer = asyncio.run(with_nio(homeserver, "alice", password_of("alice"), tmp_path))

    assert isinstance(answer, nio.LoginError)
    assert answer.status_code == "M_UNKNOWN"
    assert "could not be checked" in answer.message


@pytest.mark.parametrize(
    ("identifier", "password"),
    [
        (by_name("bob"), "wrong password"),
        (by_name("bob"), "Builders-8"),
        (by_name("bob"), "builders-8 "),
        (by_name("nobody-has-this-name"), "builders-8"),
        (by_email("alice@x.org"), "builders-8"),
        (by_email("nobody@x.org"), "builders-8"),
        (by_msisdn("491701234567"), "builders-8"),
        (by_msisdn("499999999999"), "builders-8"),
    ],
    ids=str,
)
def test_the_wrong_password_and_the_unknown_name_get_one_answer(
    homeserver: Homeserver, gate: Gate, identifier: dict[str, str], password: str
) -> None:
    before = gate.checks

    answer = homeserver.log_in(identifier, password)

    assert answer.status_code == 403
    assert answer.json() == {
        "errcode": "M_FORBIDDEN",
        "error": "Invalid username or password",
    }
    assert gate.checks == before + 1


@pytest.mark.parametrize("password", ODD_PASSWORDS)
@pytest.mark.parametrize(
    "identifier", [by_name("olga"), by_email("olga@x.org")], ids=["name", "email"]
)
def test_what_is_no_password_is_refused_without_asking(
    homeserver: Homeserver, gate: Gate, identifier: dict[str, str], password: str
) -> None:
    before = gate.checks

    answer = homeserver.log_in(identifier, password)

    assert answer.status_code in {400, 403, 429}, answer.text
    assert gate.checks == before


@pytest.mark.parametrize("odd", ODD_USERS, ids=lambda odd: odd.why)
def test_odd_names_are_refused_without_asking_and_leave_nothing(
    homeserver: Homeserver, gate: Gate, odd: OddUser
) -> None:
    before = gate.checks, homeserver.accounts()
    devices = homeserver.rows("SELECT count(*) FROM devices")

    answer = homeserver.log_in(odd.typed(SERVER_NAME), password_of("alice"))

    assert 400 <= answer.status_code < 500, answer.text
    assert (gate.checks, homeserver.accounts()) == before
    assert homeserver.rows("SELECT count(*) FROM devices") == devices


@pytest.mark.parametrize(
    "address",
    ["", "alice", "a@b@c.org", "alice@x.org\0", "\ud800@x.org", "a b@x.org", "a" * 60_000],
    ids=range(7),
)
def test_what_is_no_address_is_refused_without_asking(
    homeserver: Homeserver, gate: Gate, address: str
) -> None:
    before = gate.checks

    answer = homeserver.log_in(by_email(address), password_of("alice"))

    assert 400 <= answer.status_code < 500, answer.text
    assert gate.checks == before


@pytest.mark.parametrize("address", ["alice%@x.org", "*@x.org", "alice@x_org", "a.lice@x.org"])
def test_an_address_is_no_pattern(homeserver: Homeserver, address: str) -> None:
    answer = homeserver.log_in(by_email(address), password_of("alice"))

    assert answer.status_code == 403, answer.text


def test_the_first_login_makes_an_account_with_its_display_name(homeserver: Homeserver) -> None:
    """S9: and no session beside those that were asked for."""
    mxid = f"@newcomer:{SERVER_NAME}"
    assert mxid not in homeserver.accounts()

    # what a person sees who opens a client at several places at once
    barrier = threading.Barrier(20)

    def log_in(_: int) -> Any:
        barrier.wait(timeout=30)
        return homeserver.log_in("newcomer", password_of("newcomer"))

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(log_in, range(20)))

    assert statuses(answers) == [200] * 20
    devices = {answer.json()["device_id"] for answer in answers}
    assert {answer.json()["user_id"] for answer in answers} == {mxid}
    assert len(devices) == 20
    assert homeserver.devices(mxid) == devices
    assert len(homeserver.rows("SELECT 1 FROM access_tokens WHERE user_id = ?", mxid)) == 20
    assert homeserver.rows("SELECT displayname FROM profiles WHERE full_user_id = ?", mxid) == [
        ("New Comer",)
    ]


def test_an_account_with_historic_capitals_is_found(homeserver: Homeserver) -> None:
    homeserver.add_account(f"@Historic:{SERVER_NAME}")

    for typed in ("historic", "Historic", f"@historic:{SERVER_NAME}"):
        answer = homeserver.log_in(typed, password_of("historic"))

        assert answer.status_code == 200, answer.text
        assert answer.json()["user_id"] == f"@Historic:{SERVER_NAME}"
    assert f"@historic:{SERVER_NAME}" not in homeserver.accounts()


def test_two_historic_accounts_of_one_name_are_not_mixed_up(homeserver: Homeserver) -> None:
    homeserver.add_account(f"@Twins:{SERVER_NAME}")
    homeserver.add_account(f"@TWINS:{SERVER_NAME}")

    answer = homeserver.log_in("twins", password_of("twins"))

    assert answer.status_code == 403
    assert "More than one account" in answer.json()["error"]


def test_a_disabled_account_is_told_so_and_only_to_who_knows_the_password(
    homeserver: Homeserver, service: Service
) -> None:
    assert homeserver.log_in("leaver", password_of("leaver")).status_code == 200
    service.run("user", "disable", "leaver")

    right = homeserver.log_in("leaver", password_of("leaver"))
    wrong = homeserver.log_in("leaver", "not the password")

    assert (right.status_code, right.json()["errcode"]) == (403, "M_USER_DEACTIVATED")
    assert (wrong.status_code, wrong.json()["errcode"]) == (403, "M_FORBIDDEN")
    service.run("user", "enable", "leaver")
    assert homeserver.log_in("leaver", password_of("leaver")).status_code == 200


def test_a_password_that_has_to_be_changed_is_told_so_and_is_no_failed_login(
    homeserver: Homeserver, service: Service
) -> None:
    password = password_of("changer")
    service.run(
        *("user", "set-password", "changer", "--password-stdin", "--temporary"),
        password=f"{password}\n",
    )

    answers = [homeserver.log_in("changer", password) for _ in range(FAILED_ATTEMPTS + 2)]
    wrong = homeserver.log_in("changer", "not the password")

    assert statuses(answers) == [403] * (FAILED_ATTEMPTS + 2)
    assert {answer.json()["error"] for answer in answers} == {
        "Your password has to be changed before you can log in."
    }
    assert wrong.json()["error"] == "Invalid username or password"
    service.run(*("user", "set-password", "changer", "--password-stdin"), password=f"{password}\n")
    assert homeserver.log_in("changer", password).status_code == 200


def test_wrong_passwords_count_at_the_homeserver(homeserver: Homeserver) -> None:
    # the same one each time, so that Lalepass itself holds nobody up
    answers = [homeserver.log_in("guessed", "the same") for _ in range(FAILED_ATTEMPTS + 2)]

    assert statuses(answers) == [403] * FAILED_ATTEMPTS + [429] * 2


def test_who_guesses_is_told_how_long_to_wait(homeserver: Homeserver) -> None:
    answers = [homeserver.log_in("twins", f"guess {n}") for n in range(3)]
    held_up = homeserver.log_in("twins", "guess 3")

    assert statuses(answers) == [403] * 3
    assert held_up.status_code == 429
    assert held_up.json()["errcode"] == "M_LIMIT_EXCEEDED"
    assert held_up.json()["retry_after_ms"] == 1000
    assert held_up.headers["Retry-After"] == "1"


def test_the_password_confirms_what_is_asked_again(homeserver: Homeserver) -> None:
    login = homeserver.log_in("bob", password_of("bob")).json()

    wrong = homeserver.delete_device(login, "not the password")
    assert wrong.status_code == 401
    right = homeserver.delete_device(login, password_of("bob"))
    assert right.status_code == 200, right.text
    assert login["device_id"] not in homeserver.devices(f"@bob:{SERVER_NAME}")


def test_nobody_confirms_with_the_password_of_another(homeserver: Homeserver) -> None:
    login = homeserver.log_in("bob", password_of("bob")).json()

    answer = homeserver.delete_device(login, password_of("alice"), identifier="alice")

    assert answer.status_code in {401, 403}, answer.text
    assert login["device_id"] in homeserver.devices(f"@bob:{SERVER_NAME}")


def test_lesson_5_what_is_no_password_confirms_nothing(homeserver: Homeserver, gate: Gate) -> None:
    """In user-interactive auth (S14: it asks the same callbacks), by the name and by the MXID."""
    login = homeserver.log_in("frank", password_of("frank")).json()
    before = gate.checks

    for password in ODD_PASSWORDS:
        for identifier in (None, "frank"):
            answer = homeserver.delete_device(login, password, identifier=identifier)
            assert answer.status_code in {400, 401, 403, 429}, answer.text

    assert gate.checks == before
    assert login["device_id"] in homeserver.devices(f"@frank:{SERVER_NAME}")


def test_lesson_3_all_names_of_an_account_share_one_budget(
    homeserver: Homeserver, service: Service
) -> None:
    """Synapse counts what was typed (S6); Lalepass counts the account."""
    doors: list[Door] = [
        *("frank", "Frank", "FRANK", f"@frank:{SERVER_NAME}", f"@Frank:{SERVER_NAME}"),
        *(by_email("frank@x.org"), by_email("Frank@X.org"), by_email("FRANK@x.ORG")),
    ]
    begun = time.monotonic()

    answers = [homeserver.log_in(door, f"guess {n}") for n, door in enumerate(doors)]

    # three are free, and then one has to be waited for: one a second at the most
    guessed = statuses(answers).count(403)
    assert 3 <= guessed <= 4 + (time.monotonic() - begun)
    assert set(statuses(answers)) <= {403, 429}
    assert homeserver.log_in("bob", password_of("bob")).status_code == 200
    service.run("user", "unlock", "frank")


def test_s19_lalepass_learns_who_is_asking(homeserver: Homeserver, service: Service) -> None:
    assert homeserver.log_in("bob", password_of("bob")).status_code == 200

    def trail_tells() -> bool:
        trail = service.run("audit", "tail", "--json")
        return "127.0.0.1" in trail and f"python-httpx/{httpx.__version__}" in trail

    until(trail_tells, what="the trail, which is written after the answer, has it")
