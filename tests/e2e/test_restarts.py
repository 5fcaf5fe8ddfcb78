"""What a homeserver still knows after a restart, and what it hears of that happened meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import TIMEOUT, synapse_config
from tests.e2e.parts import Homeserver, Person, add_people, by_name
from tests.e2e.sessions import (
    CLIENT,
    assert_locked,
    gone,
    log_in,
    orders_waiting,
    wait_for,
    who_am_i,
)
from tests.e2e.waiting import until
from tools.gate import Gate, Mode
from tools.processes import Process
from tools.service import Service

pytestmark = pytest.mark.e2e

TOKEN = "restarting"
ACKNOWLEDGEMENT = b"POST /v1/orders/acknowledge"
PASSWORD = "restarts-15-password"
PEOPLE = ("rita", "rob", "ruth")


@dataclass
class Restarting:
    """A homeserver that is stopped and started, with or without a file for its state."""

    homeserver: Homeserver
    process: Process
    has_file: bool = False

    def stop(self) -> None:
        self.process.stop()
        # Synapse's own steps at the end are done as well, in their order.
        log = self.homeserver.config.log.read_text()
        assert "While calling system event trigger handler" not in log
        assert "Main loop terminated" in log.rpartition("STARTING SERVER")[2]

    def start(self, *, state: bool, more_modules: Sequence[str] = ()) -> None:
        self.has_file = state
        state_path = str(self.homeserver.config.directory / "lalepass-state")
        lifecycle = {"lifecycle": {"state_path": state_path}} if state else {}
        options = {"timeout": TIMEOUT, **lifecycle}
        path = replace(self.homeserver.config, module_options=options).write()
        written = yaml.safe_load(path.read_text())
        written["modules"] += [{"module": name, "config": {}} for name in more_modules]
        path.write_text(yaml.safe_dump(written))
        self.process.start()
        self.process.wait_until_healthy(timeout=240)

    def restart(self, *, state: bool) -> None:
        self.stop()
        self.start(state=state)

    def signed_out(self, name: str) -> int:
        """How often an order for this name was carried out."""
        return self.homeserver.config.log.read_text().count(f"Signed {name} out everywhere")

    def log_in_refreshable(self, name: str) -> dict[str, Any]:
        body = {
            "type": "m.login.password",
            "identifier": by_name(name),
            "password": PASSWORD,
            "refresh_token": True,
        }
        answer = self.homeserver.call("POST", f"{CLIENT}/login", body)
        assert "refresh_token" in answer.json(), answer.text
        session: dict[str, Any] = answer.json()
        return session


@pytest.fixture(scope="module")
def restarting(
    tmp_path_factory: pytest.TempPathFactory, service: Service, session_gate: Gate
) -> Iterator[Restarting]:
    add_people(service, dict.fromkeys(PEOPLE, Person(PASSWORD)))
    token = service.directory / "token-of-the-restarting"
    scopes = ["--scope", "check", "--scope", "feed"]
    service.run("token", "create", TOKEN, *scopes, "--output", str(token))
    directory = tmp_path_factory.mktemp("restarting")
    config = synapse_config(
        directory, service, session_gate.url, refreshable_access_token_lifetime="1h"
    )
    config = replace(config, token_path=token)
    config.write()
    with config.process() as process:
        process.wait_until_healthy(timeout=240)
        yield Restarting(Homeserver(config), process)


def test_what_was_ordered_while_the_homeserver_was_down_is_done_when_it_is_up(
    restarting: Restarting, gate: Gate, service: Service
) -> None:
    assert gate.mode is Mode.OPEN
    homeserver = restarting.homeserver
    signed_out = [log_in(homeserver, "rita", PASSWORD), restarting.log_in_refreshable("rita")]
    disabled = log_in(homeserver, "rob", PASSWORD)
    other = log_in(homeserver, "ruth", PASSWORD)
    restarting.stop()
    service.run("user", "sign-out", "rita")
    service.run("user", "disable", "rob")
    restarting.start(state=False)

    for session in signed_out:
        until(lambda s=session: gone(homeserver, s), what="it is over")  # type: ignore[misc]  # bound now
    assert_locked(wait_for(homeserver, disabled, 401))
    assert who_am_i(homeserver, other).status_code == 200
    until(lambda: orders_waiting(service, TOKEN) == 0, what="the order is acknowledged")
    assert restarting.signed_out("rita") == 1
    service.run("user", "enable", "rob")
    wait_for(homeserver, disabled, 200)


def test_an_order_that_is_repeated_after_a_restart_spares_who_came_after_it(
    restarting: Restarting, gate: Gate, service: Service
) -> None:
    """Without a file nothing is remembered: Synapse's own data tell which session is newer."""
    homeserver = restarting.homeserver
    old = log_in(homeserver, "rita", PASSWORD)
    gate.lost = ACKNOWLEDGEMENT
    before = restarting.signed_out("rita")
    service.run("user", "sign-out", "rita")
    until(lambda: gone(homeserver, old), what="the old session is over")
    new = log_in(homeserver, "rita", PASSWORD)

    restarting.restart(state=False)

    until(lambda: restarting.signed_out("rita") == before + 2, what="it was carried out twice")
    assert who_am_i(homeserver, new).status_code == 200
    gate.lost = b""
    until(lambda: orders_waiting(service, TOKEN) == 0, what="the order is acknowledged")
    assert who_am_i(homeserver, new).status_code == 200


def test_with_a_file_it_is_not_even_carried_out_a_second_time(
    restarting: Restarting, gate: Gate, service: Service
) -> None:
    """So that it spares those sessions as well whose age Synapse can't tell."""
    restarting.restart(state=True)
    homeserver = restarting.homeserver
    old = restarting.log_in_refreshable("rita")
    gate.lost = ACKNOWLEDGEMENT
    before = restarting.signed_out("rita")
    service.run("user", "sign-out", "rita")
    until(lambda: gone(homeserver, old), what="the old session is over")
    new = restarting.log_in_refreshable("rita")

    restarting.restart(state=True)
    losses = gate.losses
    until(lambda: gate.losses > losses, what="it tells once more that it is done")
    gate.lost = b""
    until(lambda: orders_waiting(service, TOKEN) == 0, what="the order is acknowledged")

    assert who_am_i(homeserver, new).status_code == 200
    assert restarting.signed_out("rita") == before + 1


def test_with_a_file_it_knows_who_is_locked_while_the_service_is_away(
    restarting: Restarting, gate: Gate, service: Service
) -> None:
    if not restarting.has_file:  # as the first test that runs
        restarting.restart(state=True)
    homeserver = restarting.homeserver
    disabled = log_in(homeserver, "rob", PASSWORD)
    other = log_in(homeserver, "ruth", PASSWORD)
    service.run("user", "disable", "rob")
    wait_for(homeserver, disabled, 401)

    gate.mode = Mode.SHUT
    restarting.restart(state=True)

    assert_locked(who_am_i(homeserver, disabled))
    assert who_am_i(homeserver, other).status_code == 200
    path = homeserver.config.directory / "lalepass-state"
    assert path.stat().st_mode & 0o777 == 0o600

    gate.mode = Mode.OPEN
    service.run("user", "enable", "rob")
    wait_for(homeserver, disabled, 200)


def test_a_logging_context_that_another_module_leaves_behind_ends_no_following(
    restarting: Restarting, gate: Gate, service: Service
) -> None:
    """Synapse's own looping calls end by it, for as long as the process lives."""
    assert gate.mode is Mode.OPEN
    homeserver = restarting.homeserver
    restarting.stop()
    before = homeserver.config.log.read_text().count("Looping call died")
    restarting.start(state=False, more_modules=["tests.e2e.leaky.LeakyModule"])
    disabled = log_in(homeserver, "rob", PASSWORD)
    assert homeserver.config.log.read_text().count("Looping call died") > before

    service.run("user", "disable", "rob")
    assert_locked(wait_for(homeserver, disabled, 401))
    service.run("user", "enable", "rob")
    wait_for(homeserver, disabled, 200)
