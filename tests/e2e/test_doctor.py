"""The doctor looks at a homeserver that really runs, with its service behind it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import password_of, synapse_config
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


MAS = {"enabled": True, "endpoint": "http://127.0.0.1:1/", "secret": "for this test only"}


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({"matrix_authentication_service": MAS}, "delegated", "delegation"),
        ({"modules": [{"module": "lalepass_provider.Lalepass"}]}, "misspelt", "Lalepass"),
        ({"modules": {"module": "lalepass_provider.LalepassProvider"}}, "no-list", "mapping"),
    ],
    ids=["S13", "misspelt", "no list"],
)
def test_synapse_does_not_start_with_what_the_doctor_calls_an_error(
    tmp_path: Path, service: Service, gate: Gate, change: dict[str, Any], name: str, words: str
) -> None:
    config = synapse_config(tmp_path, service, gate.url, **change)
    config.write()

    code, found, _ = doctor(Homeserver(config))
    started = subprocess.run(
        [config.python, "-m", "synapse.app.homeserver", "-c", str(config.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (code, found[name]["severity"]) == (2, "error")
    assert started.returncode != 0
    assert words in started.stderr + started.stdout


RECORDER = """
from pathlib import Path

class Recorder:
    def __init__(self, config, api):
        self.file = Path(config["file"])
        api.register_password_auth_provider_callbacks(
            auth_checkers={("m.login.password", ("password",)): self.check}
        )

    async def check(self, username, login_type, login_dict):
        self.file.write_text(login_dict["password"])
        return None
"""
LEGACY = """
from pathlib import Path

class Legacy:
    def __init__(self, config, account_handler):
        self.file = Path(config["file"])
        self.file.write_text("loaded")

    @staticmethod
    def parse_config(config):
        return config

    async def check_password(self, user_id, password):
        self.file.write_text("asked")
        return True
"""


def test_other_modules_are_what_the_doctor_says_they_are(
    tmp_path: Path, service: Service, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1: the first gets every password. S12: an older one among `modules` is never asked."""
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    modules = []
    for name, source in (("Recorder", RECORDER), ("Legacy", LEGACY)):
        (tmp_path / f"other_{name.lower()}.py").write_text(source)
        options = {"file": str(tmp_path / name)}
        modules.append({"module": f"other_{name.lower()}.{name}", "config": options})
    config = synapse_config(tmp_path / "synapse", service, gate.url)
    ours = {"url": gate.url, "token_path": str(token_path(service))}
    modules.append({"module": "lalepass_provider.LalepassProvider", "config": ours})
    config.extra["modules"] = modules  # type: ignore[index]  # a dict, seen as a Mapping
    config.write()

    _, found, _ = doctor(Homeserver(config))
    with config.process() as process:
        process.wait_until_healthy(timeout=120)
        answer = Homeserver(config).log_in("alice", password_of("alice"))

    assert answer.status_code == 200
    assert found["module-before"]["option"] == "modules[0]"
    assert (tmp_path / "Recorder").read_text() == password_of("alice")
    assert found["inert-module"]["option"] == "modules[1]"
    assert (tmp_path / "Legacy").read_text() == "loaded"
