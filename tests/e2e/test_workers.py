"""The same on a generic worker, which hears of the others through Redis only."""

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.e2e.conftest import SYNAPSE, synapse_config
from tests.e2e.parts import Homeserver, Person, add_people
from tests.e2e.sessions import CLIENT, assert_locked, gone, log_in, mxid, set_password, wait_for
from tests.e2e.waiting import until
from tests.servers.postgres import SUPERUSER, Postgres
from tests.servers.valkey import Valkey
from tools.gate import Gate, Mode
from tools.processes import Process, free_port
from tools.service import Service
from tools.workers import (
    GenericWorker,
    database_options,
    main_process_options,
    replication_listener,
)

pytestmark = pytest.mark.e2e

PASSWORD = "workers-13-password"
OTHER = "workers-14-password"
PEOPLE = {
    **dict.fromkeys(("wanda", "will", "wim"), Person(PASSWORD)),
    "wera": Person(PASSWORD, display_name="Wera W.", emails=["wera@x.org"]),
    "wesley": Person(PASSWORD, display_name="Wesley", phones=["+49 170 5550001"]),
}
PROFILE = {
    "display_name": "always",
    "emails": "always",
    "phones": "on_create",
    "admin": "always",
}


@dataclass
class Worker(Homeserver):
    """A homeserver whose clients are answered by a worker."""

    worker: GenericWorker | None = None

    @property
    def url(self) -> str:
        assert self.worker is not None
        return self.worker.address


@dataclass
class Cluster:
    """A main process and a worker, and what they need."""

    main: Homeserver
    worker: Worker
    worker_process: Process
    postgres: Postgres
    database: str

    def sql(self, query: str) -> list[str]:
        """The rows of a query, as text."""
        return self.postgres.sql(query, database=self.database).splitlines()


@pytest.fixture(scope="module")
def needed() -> None:
    """Leave out what this Synapse can't do."""
    if not has("psycopg2") or not has("txredisapi"):
        pytest.skip("this Synapse is installed without what it needs for workers")


def has(module: str) -> bool:
    """Whether the Synapse under test could import it."""
    done = subprocess.run([SYNAPSE, "-c", f"import {module}"], check=False, capture_output=True)
    return done.returncode == 0


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    needed: None,  # noqa: ARG001 - before a server is started
    valkey_server: Valkey,
    postgres_server: Postgres,
    service: Service,
    session_gate: Gate,
) -> Iterator[Cluster]:
    add_people(service, PEOPLE)
    service.run("user", "edit", "wera", "--admin")
    token = service.directory / "token-of-the-cluster"
    scopes = ["--scope", "check", "--scope", "feed"]
    service.run("token", "create", "cluster", *scopes, "--output", str(token))
    replication_port = free_port()
    database = postgres_server.create_database().name
    directory = tmp_path_factory.mktemp("cluster")
    config = synapse_config(
        directory,
        service,
        session_gate.url,
        module_options={
            "lifecycle": {"state_path": str(directory / "lalepass-state")},
            "profile": PROFILE,
        },
        more_listeners=[replication_listener(replication_port)],
        more={
            "database": database_options(
                port=postgres_server.port,
                user=SUPERUSER,
                name=database,
            ),
            **main_process_options(
                redis_port=valkey_server.port, replication_port=replication_port
            ),
        },
    )
    config = replace(config, token_path=token)
    config.write()
    worker = GenericWorker(main=config, name="worker1", port=free_port())
    with config.process() as main_process:
        main_process.wait_until_healthy(timeout=240)
        with worker.process() as worker_process:
            worker_process.wait_until_healthy(timeout=240)
            yield Cluster(
                Homeserver(config),
                Worker(config, worker),
                worker_process,
                postgres_server,
                database,
            )


def devices(homeserver: Homeserver, session: dict[str, Any]) -> set[str]:
    answer = homeserver.call("GET", f"{CLIENT}/devices", token=session["access_token"])
    assert answer.status_code == 200, answer.text
    return {device["device_id"] for device in answer.json()["devices"]}


def test_a_worker_answers_logins_and_makes_accounts(cluster: Cluster, gate: Gate) -> None:
    assert gate.mode is Mode.OPEN
    session = log_in(cluster.worker, "wanda", PASSWORD)

    assert session["user_id"] == mxid("wanda")
    assert devices(cluster.main, session) == {session["device_id"]}
    wait_for(cluster.main, session, 200)
    wait_for(cluster.worker, session, 200)
    assert cluster.worker.log_in("wanda", "a wrong one").status_code == 403


def profile(cluster: Cluster, name: str) -> list[str]:
    """Display name, administrator, addresses."""
    user = f"'{mxid(name)}'"
    return cluster.sql(
        f"SELECT displayname FROM profiles WHERE full_user_id = {user}"  # noqa: S608 - our own names
        f" UNION ALL SELECT admin::text FROM users WHERE name = {user}"
        f" UNION ALL (SELECT address FROM user_threepids WHERE user_id = {user} ORDER BY 1)"
    )


def test_a_worker_brings_profiles_in_step(cluster: Cluster, gate: Gate) -> None:
    """By itself: nothing has changed at Lalepass that the main process would be told of."""
    assert gate.mode is Mode.OPEN
    log_in(cluster.worker, "wera", PASSWORD)
    assert profile(cluster, "wera") == ["Wera W.", "1", "wera@x.org"]

    # As it would be if Lalepass had said something else before.
    user = f"'{mxid('wera')}'"
    cluster.sql(
        f"UPDATE profiles SET displayname = 'Before' WHERE full_user_id = {user};\n"  # noqa: S608 - our own names
        f"UPDATE users SET admin = 0 WHERE name = {user};\n"
        f"INSERT INTO user_threepids VALUES ({user}, 'email', 'before@x.org', 1, 1);\n"
        f"INSERT INTO lalepass_profile VALUES ({user}, 'email', 'before@x.org');"
    )
    log_in(cluster.worker, "wera", PASSWORD)

    assert profile(cluster, "wera") == ["Wera W.", "1", "wera@x.org"]
    assert cluster.worker.worker is not None
    log = cluster.worker.worker.log.read_text()
    assert f"Made {mxid('wera')} an administrator" in log
    assert f"Took 1 addresses of kind email from {mxid('wera')}" in log


def test_first_logins_at_once_in_two_processes_make_one_account(
    cluster: Cluster, gate: Gate
) -> None:
    assert gate.mode is Mode.OPEN
    together = threading.Barrier(10)

    def log_in_somewhere(number: int) -> dict[str, Any]:
        together.wait(timeout=60)
        return log_in((cluster.main, cluster.worker)[number % 2], "wesley", PASSWORD)

    with ThreadPoolExecutor(10) as pool:
        sessions = list(pool.map(log_in_somewhere, range(10)))

    assert {session["user_id"] for session in sessions} == {mxid("wesley")}
    assert devices(cluster.main, sessions[0]) == {session["device_id"] for session in sessions}
    user = f"'{mxid('wesley')}'"
    assert cluster.sql(f"SELECT count(*) FROM users WHERE name = {user}") == ["1"]  # noqa: S608 - our own names
    links = f"SELECT auth_provider FROM user_external_ids WHERE user_id = {user}"  # noqa: S608 - our own names
    assert cluster.sql(links) == ["lalepass"]
    # What is written when an account is made is written, once, and nothing is owed any more.
    until(
        lambda: profile(cluster, "wesley") == ["Wesley", "0", "491705550001"],
        what="the profile is written",
    )
    owed = f"SELECT value FROM lalepass_profile WHERE user_id = {user} AND field = 'owed'"  # noqa: S608 - our own names
    until(lambda: cluster.sql(owed) == [], what="nothing is owed")


def test_a_worker_tells_of_an_outage_as_it_is(cluster: Cluster, gate: Gate) -> None:
    gate.mode = Mode.SHUT
    answer = cluster.worker.log_in("wanda", PASSWORD)

    assert answer.status_code == 503, answer.text
    assert "could not be checked" in answer.json()["error"]


def test_every_process_knows_who_is_locked(cluster: Cluster, gate: Gate, service: Service) -> None:
    assert gate.mode is Mode.OPEN
    session, other = log_in(cluster.worker, "will", PASSWORD), log_in(cluster.main, "wim", PASSWORD)
    service.run("user", "disable", "will")
    for process in (cluster.main, cluster.worker):
        assert_locked(wait_for(process, session, 401))
        wait_for(process, other, 200)

    service.run("user", "enable", "will")
    for process in (cluster.main, cluster.worker):
        wait_for(process, session, 200)


def test_who_is_signed_out_is_so_in_every_process(
    cluster: Cluster, gate: Gate, service: Service
) -> None:
    assert gate.mode is Mode.OPEN
    old = [log_in(cluster.worker, "wim", PASSWORD), log_in(cluster.main, "wim", PASSWORD)]
    for session in old:  # each process has seen each token, and may remember it
        for process in (cluster.main, cluster.worker):
            wait_for(process, session, 200)

    set_password(service, "wim", OTHER)

    for session in old:
        for process in (cluster.main, cluster.worker):
            until(
                lambda p=process, s=session: gone(p, s),  # type: ignore[misc]  # bound now
                what="a session is over",
            )
    new = log_in(cluster.worker, "wim", OTHER)
    for process in (cluster.main, cluster.worker):
        wait_for(process, new, 200)
    assert devices(cluster.main, new) == {new["device_id"]}


def test_a_worker_reports_who_signs_in(cluster: Cluster, gate: Gate, service: Service) -> None:
    assert gate.mode is Mode.OPEN
    session = log_in(cluster.worker, "wanda", PASSWORD)

    until(
        lambda: session["device_id"] in service.run("user", "show", "wanda", "--json"),
        what="the report of a login",
    )


def test_a_worker_that_starts_while_the_service_is_away_knows_who_is_locked(
    cluster: Cluster, gate: Gate, service: Service
) -> None:
    session = log_in(cluster.main, "will", PASSWORD)
    service.run("user", "disable", "will")
    assert_locked(wait_for(cluster.worker, session, 401))

    gate.mode = Mode.SHUT
    cluster.worker_process.stop()
    cluster.worker_process.start()
    cluster.worker_process.wait_until_healthy(timeout=120)

    answer = cluster.worker.call("GET", f"{CLIENT}/account/whoami", token=session["access_token"])
    assert_locked(answer)
    gate.mode = Mode.OPEN
    service.run("user", "enable", "will")
    wait_for(cluster.worker, session, 200)
