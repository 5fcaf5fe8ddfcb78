"""tools.gate: each way to misbehave, and the counting."""

import gc
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.certificates import Authority, gate_tls
from tests.e2e.waiting import until
from tests.tools.echo import echo
from tools import web
from tools.gate import Gate, Mode
from tools.processes import LOOPBACK, port_is_free
from tools.web import Answer

CHECK = "/v1/credentials/check"
TOKEN = "lalepass_0123456789ab_secret"


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with echo() as port:
        yield port


@pytest.fixture
def gate(service: int) -> Iterator[Gate]:
    with Gate(service) as gate:
        yield gate


def check(gate: Gate, *, timeout: float = 5.0) -> Answer:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return web.request("POST", f"{gate.url}{CHECK}", content={}, headers=headers, timeout=timeout)


def test_an_open_gate_lets_through_and_counts_checks_only(gate: Gate) -> None:
    answer = check(gate)
    web.request("GET", f"{gate.url}/health/ready")

    assert answer.status == 201
    assert json.loads(answer.body)["headers"]["Authorization"] == f"Bearer {TOKEN}"
    assert gate.checks == 1


def test_a_shut_gate_refuses_connections(gate: Gate) -> None:
    gate.mode = Mode.SHUT
    with pytest.raises(ConnectionRefusedError):
        check(gate)

    assert gate.checks == 0


def test_a_hung_gate_takes_checks_and_never_answers(gate: Gate) -> None:
    gate.mode = Mode.HUNG
    with pytest.raises(TimeoutError):
        check(gate, timeout=0.2)

    assert gate.checks == 1


def test_garbage_is_no_http(gate: Gate) -> None:
    gate.mode = Mode.GARBAGE
    with pytest.raises(HTTPException):
        check(gate)

    assert gate.checks == 1


@pytest.mark.parametrize(
    ("mode", "status", "body"),
    [
        (Mode.ERROR_500, 500, b"it broke"),
        (Mode.HTML, 200, b"<html><h1>It works!</h1></html>"),
        (Mode.REDIRECT, 302, b""),
        (Mode.GARBAGE_JSON, 200, b'{"result": "accep'),
        (Mode.WRONG_SCHEMA, 200, b'{"auth": {"success": true}}'),
    ],
)
def test_nonsense_is_http_as_it_should_be(gate: Gate, mode: Mode, status: int, body: bytes) -> None:
    gate.mode = mode
    answer = check(gate)

    assert (answer.status, answer.body) == (status, body)
    assert gate.checks == 1


def test_a_black_hole_takes_no_connection(gate: Gate) -> None:
    gate.mode = Mode.BLACK_HOLE
    with pytest.raises(TimeoutError):
        check(gate, timeout=0.2)

    assert gate.checks == 0


@pytest.mark.parametrize(
    ("mode", "head", "more"),
    [
        (Mode.SLOW_HEADER, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (Mode.DRIPPING_BODY, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b" "),
        (Mode.ENDLESS_BODY, b"HTTP/1.1 200 OK\r\nContent-Type: ", b" "),
    ],
)
def test_some_answers_have_no_end(gate: Gate, mode: Mode, head: bytes, more: bytes) -> None:
    gate.mode = mode
    with socket.create_connection((LOOPBACK, gate.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/credentials/check HTTP/1.1\r\n\r\n")
        got = b""
        while len(got) < len(head) + 200_000 * (mode is Mode.ENDLESS_BODY) + 5:
            got += connection.recv(65536)

    assert got.startswith(head)
    # What comes in chunks may end between two of them.
    assert got.rstrip(b"\r\n0123456789abcdef").endswith(more)


def test_it_speaks_tls_and_can_fail_to(service: int, tmp_path: Path) -> None:
    authority = Authority()
    trusting = ssl.create_default_context(cafile=str(authority.write(tmp_path)))

    def says(gate: Gate, mode: Mode) -> bytes:
        gate.mode = mode
        with (
            socket.create_connection((LOOPBACK, gate.port), timeout=10) as connection,
            trusting.wrap_socket(connection, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            return secure.recv(12)

    with Gate(service, tls=gate_tls(authority, tmp_path)) as gate:
        assert gate.url == f"https://localhost:{gate.port}"
        assert says(gate, Mode.OPEN) == b"HTTP/1.0 200"
        with pytest.raises(ssl.SSLCertVerificationError):
            says(gate, Mode.WRONG_CERTIFICATE)
        with pytest.raises(ssl.SSLError):
            says(gate, Mode.TLS_FAULT)
        assert says(gate, Mode.OPEN) == b"HTTP/1.0 200"


def test_a_wrong_token_arrives_instead_of_the_right_one(gate: Gate) -> None:
    gate.mode = Mode.WRONG_TOKEN
    got = json.loads(check(gate).body)

    assert got["headers"]["Authorization"] == "Bearer lalepass_000000000000_secret"
    assert gate.checks == 1


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.OPEN])
def test_it_opens_again_at_the_same_address(gate: Gate, mode: Mode) -> None:
    url = gate.url
    gate.mode = mode
    gate.mode = Mode.OPEN

    assert gate.url == url
    assert check(gate).status == 201


def test_what_is_cut_silently_is_quiet_and_what_comes_after_it_is_not(gate: Gate) -> None:
    with socket.create_connection((LOOPBACK, gate.port), timeout=5.0) as cut:
        cut.sendall(f"POST {CHECK} HTTP/1.1\r\nContent-Length: 2\r\n\r\n".encode())
        until(lambda: gate.checks == 1, what="the first half is through")

        gate.cut_silently()
        cut.sendall(b"{}")
        cut.settimeout(0.3)
        with pytest.raises(TimeoutError):
            cut.recv(1 << 16)
        assert check(gate).status == 201

        gate.mode = Mode.SHUT
        cut.settimeout(5.0)
        with suppress(ConnectionResetError):
            assert cut.recv(1 << 16) == b""


def test_a_delay_holds_requests_up(gate: Gate) -> None:
    gate.delay = 0.2
    begun = time.monotonic()
    check(gate)

    assert time.monotonic() - begun >= 0.2


def test_nothing_is_left_of_it(service: int) -> None:
    with Gate(service) as gate:
        gate.mode = Mode.HUNG
        with pytest.raises(TimeoutError):
            check(gate, timeout=0.05)

    assert port_is_free(gate.port)


def test_the_middle_of_a_connection_is_no_bad_time_to_change(gate: Gate) -> None:
    """A connection that is being handed over when the gate shuts is dropped, and whole."""
    over = threading.Event()

    def hammer() -> None:
        while not over.is_set():
            with suppress(OSError):
                socket.create_connection((LOOPBACK, gate.port), timeout=1).close()

    callers = [threading.Thread(target=hammer) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(40):
            gate.mode = Mode.SHUT
            gate.mode = Mode.OPEN
    finally:
        over.set()
        for caller in callers:
            caller.join(timeout=10)

    gc.collect()  # half a connection is a warning here, and so a failure


def test_what_is_to_be_lost_does_not_arrive(gate: Gate) -> None:
    gate.lost = b"POST /v1/credentials/check"
    with pytest.raises((HTTPException, OSError)):
        check(gate)
    assert (gate.losses, gate.checks) == (1, 0)

    assert web.request("GET", f"{gate.url}/health/ready").status == 200
    gate.lost = b""
    assert check(gate).status == 201
