"""The doctor looks at a homeserver that really runs, with its service behind it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.parts import Homeserver, token_path
from tools.gate import Gate, Mode
from tools.service import Service

pytestmark = pytest.mark.e2e


def doctor(homeserver: Homeserver, *paths: Path) -> tuple[int, dict[str, dict[str, Any]], str]:
    """Return the code, the findings by name, and everything that was printed."""
    done = subprocess.run(
        [
            *(homeserver.config.python, "-m", "lalepass_provider.check", "--json"),
            *map(str, paths or (homeserver.config.path,)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return (
        done.returncode,
        {finding["name"]: finding for finding in findings},
        done.stdout + done.stderr,
    )


def test_a_homeserver_that_works_has_no_errors(
    homeserver: Homeserver, service: Service, gate: Gate
) -> None:
    assert gate.mode is Mode.OPEN
    code, found, printed = doctor(homeserver)

    errors = [finding for finding in found.values() if finding["severity"] == "error"]
    assert (code, errors) == (0, [])
    assert "takes this homeserver for 'synapse'; scopes: " in found["token"]["says"]
    expected = {"listed", "options", "passwords-on", "honesty", "ready", "versions", "clocks"}
    assert expected <= found.keys()
    # The limits of the tests are wide, and their listener has no proxy.
    assert {"rate-wide", "one-address"} <= found.keys()
    assert token_path(service).read_text().strip() not in printed


@pytest.mark.parametrize(
    ("mode", "name"),
    [(Mode.SHUT, "unreachable"), (Mode.WRONG_TOKEN, "token-rejected")],
    ids=["away", "wrong token"],
)
def test_what_is_wrong_with_the_service_is_found(
    homeserver: Homeserver, gate: Gate, mode: Mode, name: str
) -> None:
    gate.mode = mode
    code, found, _ = doctor(homeserver)

    assert code == 2
    assert found[name]["option"] == "modules[0].config.url"


def test_what_would_keep_synapse_from_starting_is_found(
    homeserver: Homeserver, tmp_path: Path
) -> None:
    (module,) = yaml.safe_load(homeserver.config.path.read_text())["modules"]
    module["config"]["tiemout"] = module["config"].pop("timeout")
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump({"modules": [module]}))

    code, found, _ = doctor(homeserver, homeserver.config.path, changed)

    assert code == 2
    assert found["option-wrong"]["option"] == "modules[0].config.tiemout"
    assert "is it timeout?" in found["option-wrong"]["says"]
