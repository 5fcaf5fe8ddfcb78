"""While Lalepass has no answer, nobody is told that the password was wrong."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.conftest import FAILED_ATTEMPTS, TIMEOUT, password_of
from tests.e2e.crowds import (
    LOGINS,
    assert_in_time,
    assert_unnoticed,
    log_in_at_once,
    while_idle,
)
from tests.e2e.parts import Homeserver, by_email, by_msisdn, by_name, statuses
from tools.gate import Gate, Mode
from tools.processes import Process

pytestmark = pytest.mark.e2e

OUTAGES = [Mode.SHUT, Mode.HUNG, Mode.GARBAGE, Mode.WRONG_TOKEN]


def assert_honest(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["errcode"] == "M_UNKNOWN"
    assert "could not be checked" in answer.json()["error"]
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("mode", OUTAGES, ids=lambda mode: mode.name)
@pytest.mark.parametrize(
    "identifier",
    [by_name("carol"), by_email("carol@x.org"), by_msisdn("491701234567")],
    ids=["name", "email", "phone"],
)
def test_a_login_gets_an_honest_503(
    homeserver: Homeserver, gate: Gate, mode: Mode, identifier: dict[str, str]
) -> None:
    """S4: an error that is also a cancellation reaches the client as it is."""
    gate.mode = mode

    assert_honest(homeserver.log_in(identifier, "whatever it is"))


@pytest.mark.parametrize("mode", OUTAGES, ids=lambda mode: mode.name)
def test_what_is_asked_again_gets_an_honest_503(
    homeserver: Homeserver, gate: Gate, mode: Mode
) -> None:
    """User-interactive auth: the password confirms that a device is to go."""
    login = homeserver.log_in("carol", password_of("carol")).json()
    gate.mode = mode

    assert_honest(homeserver.delete_device(login, password_of("carol")))

    gate.mode = Mode.OPEN
    assert homeserver.delete_device(login, password_of("carol")).status_code == 200


def test_an_outage_counts_against_nobody(homeserver: Homeserver, gate: Gate) -> None:
    gate.mode = Mode.SHUT
    answers = [homeserver.log_in("carol", "a wrong one") for _ in range(FAILED_ATTEMPTS + 3)]
    assert statuses(answers) == [503] * len(answers)

    gate.mode = Mode.OPEN
    assert homeserver.log_in("carol", password_of("carol")).status_code == 200


def test_a_hung_service_holds_nobody_longer_than_the_timeout(
    homeserver: Homeserver, gate: Gate
) -> None:
    """30 people log in while the service hangs: the homeserver serves everybody else."""
    idle = while_idle(homeserver)
    with ThreadPoolExecutor(LOGINS) as pool:

        def log_in() -> httpx.Response:
            return homeserver.log_in("carol", password_of("carol"))

        well = log_in_at_once(homeserver, log_in, pool)
        assert statuses(well.answers) == [200] * LOGINS
        gate.mode = Mode.HUNG
        crowd = log_in_at_once(homeserver, log_in, pool)

    for answer in crowd.answers:
        assert_honest(answer)
    assert_in_time(crowd, deadline=TIMEOUT, control=well)
    assert_unnoticed(crowd.others, idle=idle)


def test_a_service_that_stops_and_comes_back_needs_nobodys_help(
    homeserver: Homeserver, gate: Gate, service_process: Process
) -> None:
    def login() -> httpx.Response:
        return homeserver.log_in("carol", password_of("carol"))

    assert gate.mode is Mode.OPEN
    assert login().status_code == 200

    service_process.stop()
    try:
        assert_honest(login())
    finally:
        service_process.start()
        service_process.wait_until_healthy()

    assert login().status_code == 200
