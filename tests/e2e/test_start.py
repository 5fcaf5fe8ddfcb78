"""What the module says when the homeserver starts."""

from pathlib import Path

import pytest

from tests.e2e.conftest import password_of, synapse_config
from tests.e2e.parts import Homeserver, token_path
from tools.gate import Gate, Mode
from tools.service import Service

pytestmark = pytest.mark.e2e


def test_one_line_says_what_it_is_connected_to(homeserver: Homeserver, service: Service) -> None:
    homeserver.log_in("alice", password_of("alice"))

    lines = homeserver.config.log.read_text().splitlines()
    (line,) = [line for line in lines if "Connected to the Lalepass service at" in line]
    assert " INFO " in line
    assert "as 'synapse' with the scopes check, feed" in line
    assert token_path(service).read_text().strip() not in line


def test_a_wrong_token_is_an_error_and_no_reason_not_to_start(
    tmp_path: Path, service: Service, gate: Gate
) -> None:
    gate.mode = Mode.WRONG_TOKEN
    config = synapse_config(tmp_path, service, gate.url)
    config.write()
    with config.process() as process:
        process.wait_until_healthy(timeout=120)
        assert Homeserver(config).log_in("alice", password_of("alice")).status_code == 503

    lines = config.log.read_text().splitlines()
    (line,) = [line for line in lines if "does not accept the token" in line]
    assert " ERROR " in line
