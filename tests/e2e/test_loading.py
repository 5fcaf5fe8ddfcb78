"""The ways into `homeserver.yaml`, right and wrong."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import password_of, synapse_config
from tests.e2e.parts import SERVER_NAME, Homeserver, by_email, register_locally, token_path
from tests.odd_input import ODD_USERS
from tools.gate import Gate, Mode
from tools.service import Service

pytestmark = pytest.mark.e2e


def legacy(service: Service, url: str) -> dict[str, Any]:
    entry = {
        "module": "lalepass_provider.LalepassProvider",
        "config": {
            "url": url,
            "token_path": str(token_path(service)),
            "timeout": 2,
            "link_existing": "always",
        },
    }
    return {"modules": [], "password_providers": [entry]}


def test_the_same_class_works_under_password_providers_beside_the_local_database(
    tmp_path: Path, service: Service, gate: Gate
) -> None:
    """S4b: without an answer the local database is not asked, either."""
    config = synapse_config(
        tmp_path,
        service,
        gate.url,
        **legacy(service, gate.url),
        registration_shared_secret="for this test only",
        password_config={"enabled": True, "localdb_enabled": True},
    )
    config.write()
    with config.process() as process:
        process.wait_until_healthy(timeout=120)
        homeserver = Homeserver(config)
        register_locally(homeserver, "local", "local password")

        for identifier in ("alice", f"@Alice:{SERVER_NAME}", by_email("alice@x.org")):
            answer = homeserver.log_in(identifier, password_of("alice"))
            assert (answer.status_code, answer.json()["user_id"]) == (200, f"@alice:{SERVER_NAME}")
        assert homeserver.log_in("alice", "wrong").status_code == 403
        # Here, `link_existing` is `always`.
        register_locally(homeserver, "bob", "bob's own")
        assert homeserver.log_in("bob", password_of("bob")).status_code == 200
        assert len(homeserver.links(f"@bob:{SERVER_NAME}")) == 1
        assert homeserver.log_in("local", "local password").status_code == 200
        assert homeserver.log_in("local", "wrong").status_code == 403
        # With its own database asked as well, Synapse fails on what can't be stored.
        for odd in ODD_USERS:
            answer = homeserver.log_in(odd.typed(SERVER_NAME), "local password")
            assert 400 <= answer.status_code < 500, f"{odd.why}: {answer.text}"

        gate.mode = Mode.SHUT
        # The price of an honest 503: it comes before the local database is asked.
        assert homeserver.log_in("local", "local password").status_code == 503


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tiemout": 5}, "modules.<item 0>.config.tiemout"),
        ({"timeout": -1}, "modules.<item 0>.config.timeout"),
        ({"token_path": "/nowhere/token"}, "No such file or directory"),
        ({"url": "http://auth.example.org"}, "allow_plaintext: true"),
    ],
    ids=["unknown", "range", "no file", "plaintext"],
)
def test_synapse_does_not_start_with_a_wrong_option_and_says_which(
    tmp_path: Path, service: Service, options: dict[str, Any], sentence: str
) -> None:
    config = synapse_config(tmp_path, service, "http://127.0.0.1:1")
    module = {"url": "http://127.0.0.1:1", "token_path": str(token_path(service)), **options}
    config.extra["modules"] = [  # type: ignore[index]  # a dict, seen as a Mapping
        {"module": "lalepass_provider.LalepassProvider", "config": module}
    ]
    config.write()

    done = subprocess.run(
        [config.python, "-m", "synapse.app.homeserver", "-c", str(config.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_s13_a_synapse_with_mas_does_not_start_with_the_module(
    tmp_path: Path, service: Service
) -> None:
    """The README says that they exclude each other; Synapse sees to it."""
    config = synapse_config(
        tmp_path,
        service,
        "http://127.0.0.1:1",
        matrix_authentication_service={
            "enabled": True,
            "endpoint": "http://127.0.0.1:1/",
            "secret": "shared with nobody",
        },
        password_config={"enabled": False},
    )
    config.write()

    done = subprocess.run(
        [config.python, "-m", "synapse.app.homeserver", "-c", str(config.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert "password auth provider" in done.stderr.lower()
