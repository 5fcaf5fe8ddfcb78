"""Who meets whom, and what each part may do."""

import json
from typing import Any

import pytest

from tests.docker.scale.asking import log
from tests.docker.stack import CommandFailed, Stack, docker

NETWORKS = {
    "lalepass-1": {"authentication", "accounts", "counters"},
    "lalepass-2": {"authentication", "accounts", "counters"},
    "postgres-1": {"database", "accounts", "standby", "files"},
    "postgres-2": {"database", "accounts", "standby", "files"},
    "counters": {"counters"},
    "scale-renew": {"none"},
}
ONCE = ("scale-prepare", "scale-accounts")
OUTSIDE = ("192.0.2.1", "443")

# bash is in all of the images, and nothing else that connects is.
_CONNECT = 'timeout 3 bash -c "</dev/tcp/$0/$1"'


def _reaches(scale: Stack, service: str, target: tuple[str, str]) -> bool:
    try:
        scale.compose("exec", "-T", service, "bash", "-c", _CONNECT, *target)
    except CommandFailed:
        return False
    return True


@pytest.mark.parametrize("service", NETWORKS)
def test_it_is_on_its_own_networks_only(scale: Stack, service: str) -> None:
    def name(network: str) -> str:
        return network if network == "none" else scale.network(network)

    assert set(scale.inspect(service)["NetworkSettings"]["Networks"]) == {
        name(network) for network in NETWORKS[service]
    }


def test_no_network_but_four_leads_outside(scale: Stack) -> None:
    listed = docker("network", "ls", "--format", "{{.Name}}", "--filter", f"name={scale.project}_")
    networks = json.loads(docker("network", "inspect", *listed.split()))

    open_ones = {network["Name"] for network in networks if not network["Internal"]}
    # To other servers; to clients; to an S3; and from this machine to Prometheus.
    assert open_ones <= {scale.network(name) for name in ("outside", "front", "upload", "metrics")}
    assert len(networks) >= 5


@pytest.mark.parametrize(
    ("service", "target"),
    [
        ("caller", ("lalepass-1", "8220")),
        ("caller", ("lalepass-2", "8220")),
        ("lalepass-1", ("postgres-1", "5432")),
        ("lalepass-2", ("postgres-2", "5432")),
        ("lalepass-1", ("counters", "6379")),
        ("postgres-1", ("postgres-2", "5432")),
    ],
)
def test_it_meets_who_it_needs(scale: Stack, service: str, target: tuple[str, str]) -> None:
    assert _reaches(scale, service, target)


@pytest.mark.parametrize(
    ("service", "target"),
    [
        ("caller", ("postgres-1", "5432")),
        ("caller", ("counters", "6379")),
        ("caller", OUTSIDE),
        ("lalepass-1", OUTSIDE),
        ("postgres-1", ("counters", "6379")),
        ("postgres-1", OUTSIDE),
        ("counters", ("postgres-1", "5432")),
        ("counters", OUTSIDE),
    ],
)
def test_it_does_not_meet_the_others(scale: Stack, service: str, target: tuple[str, str]) -> None:
    assert not _reaches(scale, service, target)


_LOGIN = """
import pathlib, psycopg, sys
role, database, mode, host = sys.argv[1:]
password = pathlib.Path("/secrets/of", sys.stdin.read().strip()).read_text()
try:
    with psycopg.connect(
        host=host, dbname=database, user=role, password=password, sslmode=mode,
        sslrootcert="/secrets/ca/ca.crt" if mode == "verify-full" else None, connect_timeout=5,
    ) as connection:
        print(connection.execute("SELECT current_user, rolsuper FROM pg_roles"
                                 " WHERE rolname = current_user").fetchone())
except psycopg.OperationalError as error:
    print(error)
"""


def _log_in(scale: Stack, role: str, database: str, mode: str = "verify-full") -> str:
    """Log in to PostgreSQL as who knows the password of a role, and return what was said."""
    volume, file, network = {
        "synapse": ("database-secrets", "password", "database"),
        "lalepass": ("lalepass-secrets", "database-password", "accounts"),
        "media": ("media-secrets", "password", "files"),
        "lookout": ("postgres-secrets", "lookout.password", "standby"),
        "standby": ("postgres-secrets", "standby.password", "standby"),
    }[role]
    mounts = [f"-v={scale.network(volume)}:/secrets/of:ro"]
    mounts += [f"-v={scale.network('lalepass-secrets')}:/secrets/ca:ro"]
    run = ["run", "--rm", "-i", f"--network={scale.network(network)}", *mounts]
    command = ["--entrypoint=python", f"lalepass:{scale.tag}", "-c", _LOGIN]
    return docker(*run, *command, role, database, mode, "postgres-1", stdin=file)


@pytest.mark.parametrize("role", ["synapse", "lalepass"])
def test_each_role_gets_into_its_own_database_without_being_much_there(
    scale: Stack, role: str
) -> None:
    assert f"('{role}', False)" in _log_in(scale, role, role)


@pytest.mark.parametrize(
    ("role", "database", "mode"),
    [
        ("synapse", "lalepass", "verify-full"),
        ("synapse", "postgres", "verify-full"),
        ("synapse", "synapse", "disable"),
        ("lalepass", "synapse", "verify-full"),
        ("lalepass", "lalepass", "disable"),
        ("media", "lalepass", "verify-full"),
        ("media", "synapse", "disable"),
        ("lookout", "synapse", "verify-full"),
        ("standby", "lalepass", "verify-full"),
    ],
)
def test_no_role_gets_into_another_database_or_in_without_tls(
    scale: Stack, role: str, database: str, mode: str
) -> None:
    assert "no pg_hba.conf entry" in _log_in(scale, role, database, mode)


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
    assert not host["PortBindings"]
    assert scale.compose("exec", "-T", service, "id", "-u").strip() != "0"
    with pytest.raises(CommandFailed, match="Read-only file system"):
        scale.compose("exec", "-T", service, "touch", "/here")


@pytest.mark.parametrize("service", [*NETWORKS, *ONCE])
def test_it_has_no_volume_without_a_name(scale: Stack, service: str) -> None:
    mounts = scale.inspect(service)["Mounts"]
    volumes = [mount["Name"] for mount in mounts if mount["Type"] == "volume"]

    assert volumes
    assert {name for name in volumes if not name.startswith(scale.network(""))} == set()


def test_no_secret_stands_in_the_environment_the_arguments_or_a_log(scale: Stack) -> None:
    files = "/secrets/*/*password /secrets/homeserver/token /secrets/postgres/*.scram"
    show = f"for file in {files}; do cat $file; echo; done"
    secrets = scale.compose("exec", "-T", "scale-renew", "sh", "-c", show).split()
    assert len(secrets) >= 10

    for service in [*NETWORKS, *ONCE]:
        said = json.dumps(scale.inspect(service)) + log(scale, service)
        for secret in secrets:
            assert secret not in said, service
        if service not in ONCE:
            running = scale.compose("top", service)
            for secret in secrets:
                assert secret not in running, service
