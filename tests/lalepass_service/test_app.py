"""The server as a process, on a real database and a real port."""

import gc
import json
import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from lalepass_service import app, health
from lalepass_service.app import listen, openapi_document
from lalepass_service.config import Server, load
from lalepass_service.faults import OutsideFault
from lalepass_service.http.server import Server as HttpServer
from lalepass_wire import paths
from lalepass_wire.limits import MAX_FEED_WAIT_SECONDS
from tests.commands import ServiceHere
from tools.processes import LOOPBACK, Process, free_port, port_is_free
from tools.service import Service

_DOCUMENT = Path(__file__).parents[2] / "docs/openapi.json"
_PATIENCE = 30
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service with an account, not running."""
    service = ServiceHere(directory=tmp_path_factory.mktemp("lalepass") / "made", port=free_port())
    service.init()
    service.run("user", "add", "alice", "--password-stdin", password=PASSWORD)
    return service


def _log(service: Service) -> str:
    return service.log.read_text(encoding="utf-8")


@contextmanager
def _refused(service: Service, code: int) -> Iterator[list[str]]:
    """Start a service that ends by itself, and take down what it said."""
    said: list[str] = []
    with service.process() as process:
        assert process.wait() == code
        said += _log(service).splitlines()
        yield said
    assert not any("Traceback" in line for line in said)


def test_it_answers_until_it_is_told_to_stop(made: Service) -> None:
    token = made.run("token", "create", "hs", "--scope", "check").strip()
    with made.process() as process:
        process.wait_until_healthy()
        answer = httpx.post(
            f"{made.address}{paths.CHECK_CREDENTIALS}",
            headers={"Authorization": f"Bearer {token}"},
            json={"identifier": {"kind": "user", "localpart": "alice"}, "password": PASSWORD},
        )
        assert answer.json()["result"] == "accepted"
        _signal(process, signal.SIGTERM)
        assert process.wait() == 0
    log = _log(made)
    assert f"url={made.address}" in log
    assert log.rstrip().splitlines()[-1].split()[3] == "stopped"
    assert PASSWORD not in log
    assert token not in log


def test_it_speaks_tls_with_those_who_have_a_certificate(made: Service, tmp_path: Path) -> None:
    folders = ("--directory", str(tmp_path), "--authority", str(tmp_path))
    made.run("certificate", "server", *folders, "--host", LOOPBACK)
    made.run("certificate", "homeserver", *folders, "--client")
    named = {
        "LALEPASS_SERVER__TLS_CERTIFICATE": str(tmp_path / "server.crt"),
        "LALEPASS_SERVER__TLS_KEY": str(tmp_path / "server.key"),
        "LALEPASS_SERVER__TLS_CLIENT_CA": str(tmp_path / "ca.crt"),
    }
    service = ServiceHere(directory=made.directory, port=free_port(), environment=named)
    itself = ["--certificate", str(tmp_path / "homeserver.crt"), "--key"]
    asking = [f"https://{LOOPBACK}:{service.port}", "--ca", str(tmp_path / "ca.crt")]

    with service.process() as process:
        end = time.monotonic() + _PATIENCE
        while health.main([*asking, *itself, str(tmp_path / "homeserver.key")]) != 0:
            assert process.alive
            assert time.monotonic() < end
            time.sleep(0.1)  # noqa: TID251 - until the port is open
        assert health.main(asking) == 1
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{service.address}{paths.HEALTH_READY}")
        _signal(process, signal.SIGTERM)
        assert process.wait() == 0
    assert f"url={asking[0]}" in _log(service)


def test_a_certificate_that_can_not_be_used_keeps_it_from_starting(
    made: Service, tmp_path: Path
) -> None:
    missing = str(tmp_path / "server.crt")
    named = {
        "LALEPASS_SERVER__TLS_CERTIFICATE": missing,
        "LALEPASS_SERVER__TLS_KEY": str(tmp_path / "server.key"),
    }
    service = ServiceHere(directory=made.directory, port=free_port(), environment=named)

    with _refused(service, 3) as said:
        assert said[-1] == (
            f"lalepass: server.tls_certificate: {missing} can't be read: No such file or directory"
        )


def test_at_its_most_talkative_it_keeps_every_secret(made: Service) -> None:
    token = made.run("token", "create", "debug", "--scope", "check").strip()
    service = _elsewhere(made, "debug", {"LALEPASS_LOG__LEVEL": "debug"})
    with service.process() as process:
        process.wait_until_healthy()
        for identifier in (
            {"kind": "user", "localpart": "alice"},
            {"kind": "email", "address": "canary@example.org"},
        ):
            httpx.post(
                f"{made.address}{paths.CHECK_CREDENTIALS}",
                headers={"Authorization": f"Bearer {token}"},
                json={"identifier": identifier, "password": PASSWORD},
            )
    log = _log(service)

    assert "/health/ready" in log
    for secret in (PASSWORD, token, token.split("_", 2)[2], "argon2", "alice", "canary"):
        assert secret not in log


def test_what_is_under_way_is_finished_before_it_stops(made: Service) -> None:
    body = json.dumps(
        {"identifier": {"kind": "user", "localpart": "alice"}, "password": PASSWORD}
    ).encode()
    token = made.run("token", "create", "drain", "--scope", "check").strip()
    head = (
        f"POST {paths.CHECK_CREDENTIALS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    with made.process() as process:
        process.wait_until_healthy()
        with socket.create_connection((LOOPBACK, made.port), timeout=_PATIENCE) as caller:
            caller.sendall(head.encode())
            # It has begun to read the body: the request is under way.
            assert caller.recv(1024).startswith(b"HTTP/1.1 100")
            _signal(process, signal.SIGTERM)
            _wait_until_closed(process, made.port)
            caller.sendall(body)
            # Once it has answered it hangs up.
            answer = b"".join(iter(lambda: caller.recv(4096), b""))
        assert process.wait() == 0

    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"accepted"' in answer


def test_it_may_be_told_to_stop_any_number_of_times(made: Service) -> None:
    """Somebody has no patience; the last of the trail is written all the same."""
    with made.process() as process:
        process.wait_until_healthy()
        end = time.monotonic() + _PATIENCE
        pid = process.pid
        assert pid is not None
        while process.alive and time.monotonic() < end:
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.002)  # noqa: TID251 - with a deadline
        assert process.wait() == 0

    assert _log(made).rstrip().splitlines()[-1].split()[3] == "stopped"


def test_it_can_be_told_to_stop_while_it_starts(made: Service) -> None:
    """As the first process of a container it would not even notice."""
    with socket.create_server((LOOPBACK, 0)) as silent:
        silent.settimeout(_PATIENCE)
        url = f"postgresql://lalepass@{LOOPBACK}:{silent.getsockname()[1]}/lalepass"
        given = {"LALEPASS_DATABASE__URL": url, "LALEPASS_DATABASE__TIMEOUT": "1"}
        service = _elsewhere(made, "starting", given)
        # Accepted: it has begun to look for its database.
        with service.process() as process, silent.accept()[0]:
            _signal(process, signal.SIGTERM)
            assert process.wait() == 0
    assert _log(service) == ""


def test_who_follows_is_told_at_once_and_let_go_at_the_end(made: Service) -> None:
    token = made.run("token", "create", "follower", "--scope", "check", "--scope", "feed").strip()
    with (
        made.process() as process,
        httpx.Client(
            base_url=made.address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=2 * MAX_FEED_WAIT_SECONDS,
        ) as caller,
        ThreadPoolExecutor() as threads,
    ):
        process.wait_until_healthy()

        def ask(cursor: str) -> Future[httpx.Response]:
            question: dict[str, str | int] = {"after": cursor, "wait": MAX_FEED_WAIT_SECONDS}
            return threads.submit(caller.get, paths.CHANGES, params=question)

        cursor = caller.get(paths.LOCKED).raise_for_status().json()["cursor"]
        told = [ask(cursor) for _ in range(3)]
        _wait_until_they_wait(caller, 3)
        made.run("user", "sign-out", "alice")
        answers = [each.result().json() for each in told]
        cursor = answers[0]["cursor"]
        waiting = [ask(cursor) for _ in range(3)]
        _wait_until_they_wait(caller, 3)
        _signal(process, signal.SIGTERM)
        assert process.wait() == 0
        released = [each.result() for each in waiting]

    assert [[each["localpart"] for each in answer["accounts"]] for answer in answers] == [
        ["alice"]
    ] * 3
    assert [answer.json()["cursor"] for answer in released] == [cursor] * 3
    # Nobody was kept until their time was over.
    assert max(answer.elapsed.total_seconds() for answer in released) < MAX_FEED_WAIT_SECONDS


def _wait_until_they_wait(caller: httpx.Client, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while f"lalepass_feed_waiting {count}.0" not in caller.get(paths.METRICS).text:
        assert time.monotonic() < deadline


def test_what_is_there_at_the_start_is_passed_over_by_the_collector(
    made: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []

    async def serve(_server: HttpServer, _sockets: list[socket.socket]) -> None:
        kept.append(gc.get_freeze_count())

    monkeypatch.setattr(HttpServer, "serve", serve)
    monkeypatch.setenv("LALEPASS_SERVER__PORT", str(made.port))
    # What the process would not live to need.
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        app.serve(load(made.directory / "lalepass.toml"))
    finally:
        gc.unfreeze()
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])

    # FastAPI and pydantic alone are tens of thousands.
    assert len(kept) == 1
    assert kept[0] > 10_000


def test_a_port_in_use_is_one_sentence(made: Service) -> None:
    with (
        socket.create_server((LOOPBACK, made.port)),
        _refused(_elsewhere(made, "in-use"), 4) as said,
    ):
        address = f"{LOOPBACK}:{made.port}"
        assert said == [f"lalepass: can't listen on {address}: Address already in use"]


def test_an_address_of_another_machine_is_one_sentence(made: Service) -> None:
    service = _elsewhere(made, "address", {"LALEPASS_SERVER__HOST": "192.0.2.1"})
    with _refused(service, 4) as said:
        assert len(said) == 1
        assert said[0].startswith(f"lalepass: can't listen on 192.0.2.1:{made.port}: ")


def test_a_host_that_nobody_knows_is_one_sentence() -> None:
    with pytest.raises(OutsideFault) as fault:
        listen(Server(host="no..such.host", port=8220))

    said = str(fault.value)
    assert said.startswith("can't listen on no..such.host:8220: ")
    assert "attempting" not in said
    assert said.count("such.host") == 1


def test_where_no_database_is_none_is_made(made: Service, tmp_path: Path) -> None:
    # The path may be mistyped, or its volume not mounted: it would look well, with no accounts.
    database = tmp_path / "new.db"
    service = _elsewhere(made, "empty", {"LALEPASS_DATABASE__PATH": str(database)})

    with _refused(service, 4) as said:
        (sentence,) = said
        assert sentence == (
            f"lalepass: {database} has no tables yet: run `lalepass db migrate` for a new "
            "installation, or mend [database] if there should be accounts"
        )
    assert not list(tmp_path.iterdir())


_LATER = "CREATE TABLE alembic_version AS SELECT 'nobody-knows-this' AS version_num"
_OTHER = "CREATE TABLE of_another_program (id INTEGER)"


@pytest.mark.parametrize(("name", "table"), [("later", _LATER), ("other", _OTHER)])
def test_a_database_of_a_later_version_is_left_alone(
    made: Service, tmp_path: Path, name: str, table: str
) -> None:
    database = tmp_path / "later.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(table)
        connection.commit()
    before = database.read_bytes()
    service = _elsewhere(made, name, {"LALEPASS_DATABASE__PATH": str(database)})

    with _refused(service, 4) as said:
        assert len(said) == 1
        assert "newer lalepass" in said[0]
    assert database.read_bytes() == before


def test_a_file_that_is_no_database_is_one_sentence(made: Service, tmp_path: Path) -> None:
    database = tmp_path / "text.db"
    database.write_text("this is no database, and longer than a header of one has to be" * 20)
    service = _elsewhere(made, "text", {"LALEPASS_DATABASE__PATH": str(database)})

    with _refused(service, 4) as said:
        assert said == [f"lalepass: the database {database} can't be used: file is not a database"]


def test_a_wrong_setting_is_one_sentence(made: Service) -> None:
    with _refused(_elsewhere(made, "wrong", {"LALEPASS_LOG__LEVEL": "loud"}), 3) as said:
        assert said == [
            "lalepass: LALEPASS_LOG__LEVEL: should be debug, info, warning or error",
        ]


def test_who_listens_to_others_is_warned(made: Service) -> None:
    service = _elsewhere(made, "open", {"LALEPASS_SERVER__HOST": "0.0.0.0"})
    with service.process() as process:
        process.wait_until_healthy()

    warnings = [line for line in _log(service).splitlines() if "[warning" in line]
    assert len(warnings) == 1
    assert "unencrypted" in warnings[0]


def test_json_is_for_machines(made: Service) -> None:
    service = _elsewhere(made, "json", {"LALEPASS_LOG__FORMAT": "json"})
    with service.process() as process:
        process.wait_until_healthy()

    lines = [json.loads(line) for line in _log(service).splitlines()]
    assert lines[0]["event"] == "ready"
    assert lines[0]["hashing"] in {"libsodium", "avx2", "avx512"}
    assert lines[0]["hash_milliseconds"] > 0
    assert lines[-1]["event"] == "stopped"


def test_the_committed_description_of_the_api_is_the_one_it_serves() -> None:
    """To refresh the file: `make openapi`."""
    expected = json.dumps(openapi_document(), indent=2, sort_keys=True) + "\n"

    assert _DOCUMENT.read_text(encoding="utf-8") == expected, "run `make openapi`"


def test_the_description_tells_nothing_of_this_machine() -> None:
    text = json.dumps(openapi_document())

    assert not re.search(r"/(home|root|work|tmp)/", text)


def _elsewhere(made: Service, name: str, environment: dict[str, str] | None = None) -> Service:
    """The same service with a log of its own."""

    class _Elsewhere(Service):
        @property
        def log(self) -> Path:
            return made.directory / f"{name}.log"

    return _Elsewhere(directory=made.directory, port=made.port, environment=environment or {})


def _signal(process: Process, number: signal.Signals) -> None:
    assert process.pid is not None
    os.kill(process.pid, number)


def _wait_until_closed(process: Process, port: int) -> None:
    """Wait until the port takes no new connections: the signal has arrived."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if port_is_free(port):
            return
        process.check_alive(wait=0.05)
    pytest.fail("the port is still open")
