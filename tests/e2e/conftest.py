"""One service and one homeserver for the whole run, with a gate between them."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.commands import ServiceHere
from tests.e2e.parts import SERVER_NAME, Homeserver, Person, add_people, token_path
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

PEOPLE: dict[str, Person] = {
    "alice": Person("wonderland-7", emails=["Alice@X.org"], phones=["+49 170 1234567"]),
    "bob": Person("builders-8"),
    "carol": Person("christmas-9", emails=["carol@x.org"]),
    "historic": Person("antiquity-1"),
    "twins": Person("gemini-22"),
    "newcomer": Person("arrivals-5", display_name="New Comer"),
    "leaver": Person("departures-6"),
    "changer": Person("hand-me-down-8"),
    "frank": Person("frankly-3", emails=["frank@x.org"]),
    # used up: nobody else logs in with a name whose wrong passwords Synapse has counted
    "olga": Person("orchids-4", emails=["olga@x.org"]),
    "canary": Person("canary-5f2c9-password", emails=["canary@x.org"]),
}


def password_of(localpart: str) -> str:
    return PEOPLE[localpart].password


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test the time that the servers take, which it starts for all of them.

    On a busy machine it takes minutes, and if it is ended in the middle all others fail, too.
    """
    for item in items:
        if item.get_closest_marker("e2e") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service with its people, set up and not started."""
    service = ServiceHere(
        directory=tmp_path_factory.mktemp("lalepass") / "service",
        port=free_port(),
        environment={
            "LALEPASS_LOG__LEVEL": "debug",
            # All of them come from here, and a quick machine has many of them in a minute.
            "LALEPASS_THROTTLE__SOURCE_BURST": "1000000",
        },
    )
    service.init()
    scopes = ["--scope", "check", "--scope", "feed"]
    service.run("token", "create", "synapse", *scopes, "--output", str(token_path(service)))
    add_people(service, PEOPLE)
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
    session_gate.lost = b""


def synapse_config(
    directory: Path,
    service: Service | Path,
    service_url: str,
    *,
    python: str = SYNAPSE,
    module_options: Mapping[str, object] | None = None,
    more_listeners: Sequence[Mapping[str, object]] = (),
    more: Mapping[str, object] = MappingProxyType({}),
    **extra: object,
) -> SynapseConfig:
    """A homeserver for tests; `module_options` are the module's, the rest those of Synapse.

    In place of the service, the file of a token will do.
    """
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
        token_path=service if isinstance(service, Path) else token_path(service),
        server_name=SERVER_NAME,
        log_level="DEBUG",
        module_options=module_options or {"timeout": TIMEOUT},
        extra={
            "rc_login": _LIMITS,
            "enable_metrics": True,
            "listeners": [listener, *more_listeners],
            # a push gateway on this machine
            "ip_range_whitelist": ["127.0.0.1/32"],
            **extra,
            **more,
        },
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
    scripted: ScriptedService,
    options: dict[str, object],
    **extra: Any,
) -> SynapseConfig:
    token = directory / "lalepass-token"
    token.write_text(TOKEN)
    options = {"timeout": TIMEOUT, **options}
    return synapse_config(directory, token, scripted.url, module_options=options, **extra)


@pytest.fixture(scope="session")
def lenient(
    tmp_path_factory: pytest.TempPathFactory, scripted: ScriptedService
) -> Iterator[Homeserver]:
    """A homeserver with a database of passwords of its own; Lalepass decides about profiles."""
    config = _with_policies(
        tmp_path_factory.mktemp("lenient"),
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
    tmp_path_factory: pytest.TempPathFactory, scripted: ScriptedService
) -> Iterator[Homeserver]:
    """A homeserver with a bridge and room for one active user, which links nobody by itself."""
    directory = tmp_path_factory.mktemp("strict")
    (directory / "bridge.yaml").write_text(_BRIDGE)
    config = _with_policies(
        directory,
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
