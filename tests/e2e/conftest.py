"""One service and one homeserver for the whole run, with a gate between them."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.parts import SERVER_NAME, Homeserver, add_user, token_path
from tests.e2e.scripted import TOKEN, ScriptedService
from tools.gate import Gate, Mode
from tools.processes import Process, free_port
from tools.service import Service
from tools.synapse import SynapseConfig
from tools.synapses import ENVIRONMENT

# A few wrong passwords in a row, and Synapse makes an account wait: what counts is seen at once.
FAILED_ATTEMPTS = 5
# The interpreter whose Synapse is started: `make synapses` names one after the other.
SYNAPSE = os.environ.get(ENVIRONMENT) or sys.executable
# Seconds that the provider waits for the service.
TIMEOUT = 2.0
_GENEROUS = {"per_second": 1000, "burst_count": 1000}
_LIMITS = {
    "address": _GENEROUS,
    "account": _GENEROUS,
    "failed_attempts": {"per_second": 0.001, "burst_count": FAILED_ATTEMPTS},
}

PEOPLE = {
    "alice": ("wonderland-7", ["--email", "Alice@X.org", "--phone", "+49 170 1234567"]),
    "bob": ("builders-8", []),
    "carol": ("christmas-9", ["--email", "carol@x.org"]),
    "historic": ("antiquity-1", []),
    "twins": ("gemini-22", []),
    "newcomer": ("arrivals-5", ["--display-name", "New Comer"]),
    "leaver": ("departures-6", []),
    "changer": ("hand-me-down-8", []),
    "frank": ("frankly-3", ["--email", "frank@x.org"]),
    "canary": ("canary-5f2c9-password", ["--email", "canary@x.org"]),
}


def password_of(localpart: str) -> str:
    return PEOPLE[localpart][0]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service with its people, set up and not started."""
    service = Service(
        directory=tmp_path_factory.mktemp("lalepass") / "service",
        port=free_port(),
        environment={"LALEPASS_LOG__LEVEL": "debug"},
    )
    service.init()
    service.run(
        "token", "create", "synapse", "--scope", "check", "--output", str(token_path(service))
    )
    for localpart, (password, options) in PEOPLE.items():
        add_user(service, localpart, password, *options)
    return service


@pytest.fixture(scope="session")
def service_process(service: Service) -> Iterator[Process]:
    with service.process() as process:
        process.wait_until_healthy()
        yield process


@pytest.fixture(scope="session")
def session_gate(service: Service, service_process: Process) -> Iterator[Gate]:
    assert service_process.alive
    with Gate(service.port) as gate:
        yield gate


@pytest.fixture
def gate(session_gate: Gate) -> Iterator[Gate]:
    """The gate, open again after the test."""
    yield session_gate
    session_gate.mode = Mode.OPEN


def synapse_config(
    directory: Path,
    service: Service,
    service_url: str,
    *,
    python: str = SYNAPSE,
    module_options: dict[str, object] | None = None,
    **extra: object,
) -> SynapseConfig:
    port = free_port()
    listener = {
        "type": "http",
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "resources": [{"names": ["client", "metrics"], "compress": False}],
    }
    return SynapseConfig(
        directory=directory,
        python=python,
        port=port,
        service_url=service_url,
        token_path=token_path(service),
        server_name=SERVER_NAME,
        log_level="DEBUG",
        module_options=module_options or {"timeout": TIMEOUT},
        extra={"rc_login": _LIMITS, "enable_metrics": True, "listeners": [listener], **extra},
    )


@pytest.fixture(scope="session")
def homeserver(
    tmp_path_factory: pytest.TempPathFactory, service: Service, session_gate: Gate
) -> Iterator[Homeserver]:
    """The homeserver that most tests share."""
    config = synapse_config(tmp_path_factory.mktemp("synapse"), service, session_gate.url)
    config.write()
    with config.process() as process:
        process.wait_until_healthy(timeout=120)
        yield Homeserver(config)


@pytest.fixture(scope="session")
def scripted() -> Iterator[ScriptedService]:
    """A service that says what a test wants, for the homeservers with policies of their own."""
    with ScriptedService() as scripted:
        yield scripted


def _with_policies(
    directory: Path,
    service: Service,
    scripted: ScriptedService,
    options: dict[str, object],
    **extra: object,
) -> SynapseConfig:
    config = synapse_config(directory, service, scripted.url)
    directory.mkdir(exist_ok=True)
    token = directory / "lalepass-token"
    token.write_text(TOKEN)
    return replace(
        config,
        token_path=token,
        module_options={**config.module_options, **options},
        extra={**config.extra, **extra},
    )


@pytest.fixture(scope="session")
def lenient(
    tmp_path_factory: pytest.TempPathFactory, service: Service, scripted: ScriptedService
) -> Iterator[Homeserver]:
    """A homeserver with a database of passwords of its own; Lalepass decides about profiles."""
    config = _with_policies(
        tmp_path_factory.mktemp("lenient"),
        service,
        scripted,
        {
            "local_users": ["root", "bot-*"],
            "unavailable": "try_local",
            "profile": {"display_name": "always", "admin": "always"},
        },
        password_config={"enabled": True, "localdb_enabled": True},
        registration_shared_secret="for these tests only",
        bcrypt_rounds=4,
    )
    config.write()
    with config.process() as process:
        process.wait_until_healthy(timeout=120)
        yield Homeserver(config)


_BRIDGE = """
id: bridge
url: null
as_token: bridge-to-homeserver
hs_token: homeserver-to-bridge
sender_localpart: bridge
namespaces:
  users: [{exclusive: true, regex: "@bridge_.*"}]
"""


@pytest.fixture(scope="session")
def strict(
    tmp_path_factory: pytest.TempPathFactory, service: Service, scripted: ScriptedService
) -> Iterator[Homeserver]:
    """A homeserver with a bridge and room for one active user, which links nobody by itself."""
    directory = tmp_path_factory.mktemp("strict")
    (directory / "bridge.yaml").write_text(_BRIDGE)
    config = _with_policies(
        directory,
        service,
        scripted,
        {"link_existing": "never"},
        app_service_config_files=[str(directory / "bridge.yaml")],
        limit_usage_by_mau=True,
        max_mau_value=1,
        admin_contact="mailto:admin@x.org",
    )
    config.write()
    with config.process() as process:
        process.wait_until_healthy(timeout=120)
        yield Homeserver(config)
