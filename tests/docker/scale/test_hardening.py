"""What Synapse's processes, the proxy and the store may do, whom they meet, and what they show."""

import json
from typing import Any

import pytest

from tests.docker.stack import CommandFailed, Stack, docker

_ALL = {"outside", "replication", "database", "authentication"}
NETWORKS = {
    "synapse-main": {*_ALL, "homeserver"},
    "synapse-generic-1": {*_ALL, "homeserver"},
    "synapse-generic-2": {*_ALL, "homeserver"},
    "synapse-media": {*_ALL, "homeserver", "objects"},
    "synapse-sender": _ALL,
    "synapse-background": _ALL,
    "replication": {"replication"},
    "objects": {"objects", "bucket"},
    "media-cleaner": {"upload", "bucket", "files", "cleaner"},
    "proxy": {"front", "homeserver"},
}
# Prometheus is wherever it asks, or they are where it is.
_ASKED = {"metrics"}


@pytest.mark.parametrize("service", NETWORKS)
def test_it_runs_without_rights_on_a_root_that_is_read_only(scale: Stack, service: str) -> None:
    host: dict[str, Any] = scale.inspect(service)["HostConfig"]

    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert not host["Privileged"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert scale.compose("exec", "-T", service, "id", "-u").strip() != "0"


@pytest.mark.parametrize("service", NETWORKS)
def test_it_is_on_its_own_networks_only(scale: Stack, service: str) -> None:
    networks = set(scale.inspect(service)["NetworkSettings"]["Networks"])

    assert networks - {scale.network(name) for name in _ASKED} == {
        scale.network(name) for name in NETWORKS[service]
    }


def test_only_the_proxy_is_published_and_on_loopback_only(scale: Stack) -> None:
    bound = {
        (service, binding["HostIp"], int(binding["HostPort"]))
        for service in NETWORKS
        for bindings in scale.inspect(service)["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }

    assert bound == {("proxy", "127.0.0.1", scale.port)}


def test_nobody_hears_replication_without_the_password(scale: Stack) -> None:
    ask = ("exec", "-T", "replication", "valkey-cli", "-h", "127.0.0.1")

    assert "NOAUTH" in scale.compose(*ask, "ping")
    assert "NOAUTH" in scale.compose(*ask, "publish", "docker.test", "RDATA")


def test_workers_can_not_change_what_is_the_homeservers(scale: Stack) -> None:
    for path in ("/data/here", "/secrets/synapse/here"):
        with pytest.raises(CommandFailed, match="Read-only file system"):
            scale.compose("exec", "-T", "synapse-generic-1", "touch", path)


def test_who_cleans_up_media_has_no_key_of_synapses(scale: Stack) -> None:
    mounts = {each["Destination"]: each for each in scale.inspect("media-cleaner")["Mounts"]}
    assert set(mounts) == {"/config", "/data", "/secrets/media", "/secrets/objects"}
    assert [path for path, each in mounts.items() if each["RW"]] == ["/data"]

    # Whatever is in there and is not a file of somebody's, or the notes of its own work.
    found = ("find", "/data", "-path", "/data/media", "-prune", "-o", "-type", "f", "-print")
    there = scale.compose("exec", "-T", "media-cleaner", *found).split()
    assert set(there) <= {
        "/data/generated.yaml",
        *(f"/data/media-cleaner.{end}" for end in ("done", "lock")),
    }
    said = scale.compose("exec", "-T", "media-cleaner", "cat", "/data/generated.yaml")
    assert "the keys are the profile scale's" in said
    listed = scale.compose("exec", "-T", "media-cleaner", "ls", "/secrets/media", "/secrets")
    assert set(listed.split()) >= {"ca.crt", "password", "media", "objects"}
    # The image has folders for all, and nothing is in those of others.
    for other in ("synapse", "replication"):
        assert scale.compose("exec", "-T", "media-cleaner", "ls", f"/secrets/{other}") == ""


def test_who_has_nothing_to_do_with_media_has_none(scale: Stack) -> None:
    for service in ("synapse-main", "synapse-generic-1", "synapse-sender", "synapse-background"):
        mounts = {each["Destination"] for each in scale.inspect(service)["Mounts"]}
        assert "/data" not in mounts, service


def test_no_secret_stands_in_the_environment_the_arguments_or_the_log(scale: Stack) -> None:
    def read(service: str, path: str) -> str:
        return scale.compose("exec", "-T", service, "cat", path).strip()

    credentials = read("objects", "/secrets/objects/credentials")
    secrets = [
        credentials.rpartition(" = ")[2],
        read("replication", "/secrets/replication/password"),
        read("synapse-main", "/secrets/synapse/worker_replication_secret"),
        read("synapse-main", "/secrets/homeserver/token"),
        read("synapse-main", "/secrets/synapse/pgpass").rpartition(":")[2],
        read("media-cleaner", "/secrets/media/password"),
    ]
    assert all(len(secret) >= 32 for secret in secrets)

    for service in NETWORKS:
        facts = json.dumps(scale.inspect(service))
        log = docker("logs", scale.container(service), errors=True)
        running = docker("top", scale.container(service), "-o", "pid,args")
        for number, secret in enumerate(secrets):
            assert secret not in facts + log + running, (service, number)


def test_secrets_are_for_their_owner_and_the_group_only(scale: Stack) -> None:
    files = {
        "synapse-main": {
            "/secrets/replication/password": "640",
            "/secrets/synapse/signing.key": "600",
        },
        "objects": {"/secrets/objects/credentials": "640"},
    }

    for service, modes in files.items():
        shown = scale.compose("exec", "-T", service, "stat", "--format=%n %a", *modes)
        assert dict(line.split() for line in shown.splitlines()) == modes


def test_another_s3_is_there_by_settings_alone(scale: Stack) -> None:
    settings = {
        "S3_OWN": "0",
        "S3_ENDPOINT": "https://s3.example.org",
        "S3_REGION": "eu-north-1",
        "S3_BUCKET": "ours",
        "S3_CREDENTIALS": "/etc/lalepass/s3",
    }
    there = Stack(
        port=scale.port, profile="scale", changes=scale.changes, environment=settings
    ).compose("config", "--format", "json")
    services = json.loads(there)["services"]

    assert services["objects"]["scale"] == 0
    assert services["scale-homeserver"]["environment"]["S3_BUCKET"] == "ours"
    for name in ("synapse-media", "media-cleaner"):
        given = services[name]["environment"]
        assert given["AWS_ENDPOINT_URL_S3"] == "https://s3.example.org"
        assert given["AWS_DEFAULT_REGION"] == "eu-north-1"
        assert given["S3_BUCKET"] == "ours"
        (mount,) = [at for at in services[name]["volumes"] if at["target"] == "/secrets/objects"]
        assert (mount["type"], mount["source"]) == ("bind", "/etc/lalepass/s3")
