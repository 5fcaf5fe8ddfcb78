"""What the containers may do, and whom they meet."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.docker.stack import ROOT, CommandFailed, Stack, docker

SERVICES = ["lalepass", "lalepass-renew", "synapse", "postgres"]
NETWORKS = {
    "lalepass": {"authentication"},
    "lalepass-renew": {"none"},
    "synapse": {"outside", "authentication", "database"},
    "postgres": {"database"},
}
# What a plain container is asked with, in its own Python.
_CONNECT = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"


@pytest.mark.parametrize("service", SERVICES)
def test_it_runs_without_rights_on_a_root_that_is_read_only(stack: Stack, service: str) -> None:
    facts = stack.inspect(service)
    host: dict[str, Any] = facts["HostConfig"]

    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert not host["Privileged"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert stack.compose("exec", "-T", service, "id", "-u").strip() != "0"
    with pytest.raises(CommandFailed, match="Read-only file system"):
        stack.compose("exec", "-T", service, "touch", "/here")


def test_only_the_homeserver_is_published_and_on_loopback_only(stack: Stack) -> None:
    published = {
        service: stack.inspect(service)["NetworkSettings"]["Ports"] for service in SERVICES
    }

    bound = {
        (service, binding["HostIp"], int(binding["HostPort"]))
        for service, ports in published.items()
        for bindings in ports.values()
        for binding in bindings or []
    }
    assert bound == {("synapse", "127.0.0.1", stack.port)}


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_on_its_own_networks_only(stack: Stack, service: str) -> None:
    def name(network: str) -> str:
        return network if network == "none" else stack.network(network)

    assert set(stack.inspect(service)["NetworkSettings"]["Networks"]) == {
        name(network) for network in NETWORKS[service]
    }


@pytest.mark.parametrize("service", [*SERVICES, "lalepass-prepare", "synapse-prepare"])
def test_it_has_no_volume_without_a_name(stack: Stack, service: str) -> None:
    mounts = stack.inspect(service)["Mounts"]
    volumes = [mount["Name"] for mount in mounts if mount["Type"] == "volume"]

    assert volumes
    assert {name for name in volumes if not name.startswith(stack.network(""))} == set()


def test_who_is_on_a_network_of_two_meets_nobody_outside(stack: Stack) -> None:
    names = [stack.network(name) for name in ("authentication", "database", "outside")]
    networks = json.loads(docker("network", "inspect", *names))

    assert [network["Internal"] for network in networks] == [True, True, False]


@pytest.mark.parametrize(("target", "port"), [("postgres", "5432"), ("192.0.2.1", "443")])
def test_the_service_reaches_no_database_and_nobody_outside(
    stack: Stack, target: str, port: str
) -> None:
    with pytest.raises(CommandFailed):
        stack.compose("exec", "-T", "lalepass", "python", "-c", _CONNECT, target, port)


def test_the_homeserver_meets_both(stack: Stack) -> None:
    for target, port in (("lalepass", "8220"), ("postgres", "5432")):
        stack.compose("exec", "-T", "synapse", "python", "-c", _CONNECT, target, port)


def test_without_a_certificate_the_service_listens_to_nobody(stack: Stack) -> None:
    ask = (
        "import ssl, urllib.request as u;"
        "c = ssl.create_default_context(cafile='/secrets/homeserver/ca.crt');"
        "{show}"
        "print(u.urlopen('https://lalepass:8220/health/live', context=c, timeout=5).status)"
    )
    own = "'/secrets/homeserver/homeserver"
    show = f"c.load_cert_chain({own}.crt', {own}.key');"

    shown = stack.compose("exec", "-T", "synapse", "python", "-c", ask.format(show=show))
    assert shown == "200\n"
    # How who shows none hears of it is up to the moment: an alert, or a connection that is closed.
    with pytest.raises(CommandFailed):
        stack.compose("exec", "-T", "synapse", "python", "-c", ask.format(show=""))


def test_secrets_are_for_their_owner_and_the_group_only(stack: Stack) -> None:
    files = {
        "synapse": {
            "/secrets/homeserver/token": "640",
            "/secrets/homeserver/homeserver.key": "640",
            "/data/pgpass": "600",
        },
        "lalepass": {
            "/secrets/lalepass/lalepass.key": "640",
            "/secrets/lalepass/health.key": "640",
        },
        "postgres": {"/secrets/database/password": "640"},
        "lalepass-renew": {"/authority/ca.key": "600"},
    }

    for service, modes in files.items():
        shown = stack.compose("exec", "-T", service, "stat", "--format=%n %a", *modes)
        assert dict(line.split() for line in shown.splitlines()) == modes


def test_no_secret_stands_in_the_environment_or_the_arguments(stack: Stack) -> None:
    password = stack.compose("exec", "-T", "postgres", "cat", "/secrets/database/password")
    token = stack.compose("exec", "-T", "synapse", "cat", "/secrets/homeserver/token").strip()
    assert password
    assert token.startswith("lalepass_")

    for service in [*SERVICES, "lalepass-prepare", "synapse-prepare"]:
        facts = json.dumps(stack.inspect(service))
        logs = docker("logs", stack.container(service), errors=True)
        assert logs or service == "synapse-prepare"
        for secret in (password, token):
            assert secret not in facts
            assert secret not in logs


def test_the_size_of_the_images(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    def size(image: str) -> int:
        return int(docker("image", "inspect", "--format", "{{.Size}}", image))

    base = size("python:3.13-slim-trixie")
    added = size(f"lalepass:{stack.tag}") - base
    with capsys.disabled():
        print(  # noqa: T201 - CI's log is where it is wanted
            f"\nimages: base {base / 1e6:.0f} MB, service {added / 1e6:.0f} MB over it,"
            f" Synapse with the module {size(f'synapse-lalepass:{stack.tag}') / 1e6:.0f} MB"
        )
    assert added <= 250e6


def test_the_example_settings_lack_nothing_but_the_domain(tmp_path: Path) -> None:
    file = tmp_path / ".env"

    def config(domain: str) -> "subprocess.CompletedProcess[str]":
        example = (ROOT / ".env.example").read_text()
        assert example.count("\nSYNAPSE_SERVER_NAME=\n") == 1
        file.write_text(example.replace("SERVER_NAME=\n", f"SERVER_NAME={domain}\n"))
        return subprocess.run(
            ["docker", "compose", "--env-file", str(file), "config", "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=ROOT,
        )

    lacking = config("")
    assert lacking.returncode != 0
    assert "write your domain into .env as SYNAPSE_SERVER_NAME" in lacking.stderr
    whole = config("example.org")
    assert whole.returncode == 0, whole.stderr
    services = json.loads(whole.stdout)["services"]
    assert services["synapse-prepare"]["environment"]["SYNAPSE_SERVER_NAME"] == "example.org"
    # Engines before 25 refuse it.
    assert "start_interval" not in whole.stdout
