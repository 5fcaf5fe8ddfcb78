"""The module on the oldest Synapse that is promised, and on one between: what matters most.

All end-to-end tests on each of them are `make synapses`.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import FAILED_ATTEMPTS, password_of, synapse_config
from tests.e2e.parts import SERVER_NAME, Homeserver, by_email, by_msisdn, by_name
from tests.e2e.sessions import assert_locked, log_in, wait_for
from tests.e2e.test_loading import legacy
from tests.e2e.test_outage import assert_honest
from tests.e2e.waiting import until
from tools.gate import Gate, Mode
from tools.locks import DEV
from tools.service import Service
from tools.synapses import RELEASES, NotInstalled, Release

pytestmark = pytest.mark.e2e

ALICE = f"@alice:{SERVER_NAME}"


@pytest.fixture(
    scope="module",
    params=[release for release in RELEASES if release.lock is not DEV],
    ids=lambda release: release.version,
)
def python(request: pytest.FixtureRequest) -> str:
    """Return the interpreter that has an older Synapse."""
    release: Release = request.param
    try:
        return release.install()
    except NotInstalled as error:
        pytest.skip(f"Synapse {release.version} can't be installed: {error}")


@pytest.fixture(scope="module")
def older(
    python: str, tmp_path_factory: pytest.TempPathFactory, service: Service, session_gate: Gate
) -> Iterator[Homeserver]:
    config = synapse_config(
        tmp_path_factory.mktemp("older"), service, session_gate.url, python=python
    )
    config.write()
    with config.process() as process:
        process.wait_until_healthy(timeout=120)
        yield Homeserver(config)


def test_it_finds_its_service_and_can_tell_the_truth(older: Homeserver) -> None:
    assert older.log_in("alice", password_of("alice")).status_code == 200

    log = older.config.log.read_text()
    assert "as 'synapse' with the scopes check, feed" in log
    assert "does not pass on why a password was not checked" not in log


@pytest.mark.parametrize(
    "identifier",
    [by_name("Alice"), by_name(ALICE), by_email("alice@x.org"), by_msisdn("491701234567")],
    ids=["name", "mxid", "email", "phone"],
)
def test_yes_no_and_no_answer_are_three_things(
    older: Homeserver, gate: Gate, identifier: dict[str, str]
) -> None:
    """S20: honest errors come through on older releases, too."""
    answer = older.log_in(identifier, password_of("alice"))
    assert (answer.status_code, answer.json()["user_id"]) == (200, ALICE)
    wrong = older.log_in(identifier, "wrong")
    assert (wrong.status_code, wrong.json()["errcode"]) == (403, "M_FORBIDDEN")
    for mode in (Mode.SHUT, Mode.GARBAGE, Mode.WRONG_TOKEN):
        gate.mode = mode
        assert_honest(older.log_in(identifier, "whatever it is"))


def test_an_outage_counts_against_nobody(older: Homeserver, gate: Gate) -> None:
    gate.mode = Mode.SHUT
    for _ in range(FAILED_ATTEMPTS + 1):
        assert_honest(older.log_in("carol", "a wrong one"))

    gate.mode = Mode.OPEN
    assert older.log_in("carol", password_of("carol")).status_code == 200


def test_what_is_asked_again_is_told_the_truth_as_well(older: Homeserver, gate: Gate) -> None:
    login = older.log_in("carol", password_of("carol")).json()
    assert older.delete_device(login, "wrong").status_code == 401
    gate.mode = Mode.SHUT
    assert_honest(older.delete_device(login, password_of("carol")))
    gate.mode = Mode.OPEN
    assert older.delete_device(login, password_of("carol")).status_code == 200


def test_who_is_disabled_is_locked_and_who_is_enabled_goes_on(
    older: Homeserver, gate: Gate, service: Service
) -> None:
    """S17, and the device handler that signs people out."""
    assert gate.mode is Mode.OPEN
    login = log_in(older, "bob", password_of("bob"))
    service.run("user", "disable", "bob")
    try:
        assert_locked(wait_for(older, login, 401))
    finally:
        service.run("user", "enable", "bob")
    wait_for(older, login, 200)

    service.run("user", "sign-out", "bob")
    gone = wait_for(older, login, 401)
    assert gone.json()["errcode"] == "M_UNKNOWN_TOKEN"
    assert older.devices(login["user_id"]) == set()


def test_its_metrics_are_among_those_of_the_homeserver(
    older: Homeserver, gate: Gate, service: Service
) -> None:
    """Each release has a prometheus_client of its own, and shows what is registered there."""

    def checks(outcome: str, kind: str = "") -> float:
        found = older.metric("lalepass_provider_checks_total")
        return found.get(f'{{kind="{kind}",outcome="{outcome}"}}', 0)

    accepted, refused = checks("accepted"), checks("refused")
    no_answer = checks("no_answer", "NotConnected")

    def locked(count: int) -> None:
        metric = "lalepass_provider_locked_accounts"
        until(lambda: older.metric(metric) == {"": before + count}, what=f"{count} more locked")

    (before,) = older.metric("lalepass_provider_locked_accounts").values()
    assert older.log_in("carol", password_of("carol")).status_code == 200
    assert older.log_in("carol", "wrong").status_code == 403
    service.run("user", "disable", "bob")
    try:
        locked(1)
    finally:
        service.run("user", "enable", "bob")
    locked(0)
    assert 0 <= older.metric("lalepass_provider_feed_age_seconds")[""] < 30
    (orders,) = older.metric("lalepass_provider_sign_out_orders_total").values()
    service.run("user", "sign-out", "bob")
    until(
        lambda: older.metric("lalepass_provider_sign_out_orders_total") == {"": orders + 1},
        what="an order that is carried out and counted",
    )
    gate.mode = Mode.SHUT
    assert_honest(older.log_in("carol", password_of("carol")))

    assert checks("accepted") == accepted + 1
    assert checks("refused") == refused + 1
    assert checks("no_answer", "NotConnected") == no_answer + 1
    seconds = older.metric("lalepass_provider_check_seconds_count")[""]
    assert seconds == sum(older.metric("lalepass_provider_checks_total").values())
    assert older.metric("lalepass_provider_checks_in_flight") == {"": 0}
    (endpoint,) = older.metric("lalepass_provider_endpoint_up")
    assert endpoint == f'{{endpoint="{gate.url.removeprefix("http://")}"}}'
    assert older.metric("lalepass_provider_reports_dropped_total") == {"": 0}


def test_it_starts_without_its_service_and_in_the_old_way(
    python: str, tmp_path_factory: pytest.TempPathFactory, service: Service, gate: Gate
) -> None:
    gate.mode = Mode.SHUT
    config = synapse_config(
        tmp_path_factory.mktemp("legacy"),
        service,
        gate.url,
        python=python,
        **legacy(service, gate.url),
    )
    config.write()
    with config.process() as process:
        process.wait_until_healthy(timeout=120)
        homeserver = Homeserver(config)
        assert_honest(homeserver.log_in("alice", password_of("alice")))
        assert "can't be reached just now" in config.log.read_text()

        gate.mode = Mode.OPEN
        assert homeserver.log_in("alice", password_of("alice")).status_code == 200
