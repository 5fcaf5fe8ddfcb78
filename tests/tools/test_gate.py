"""tools.gate: each way to misbehave, and the counting."""

import json
import time
from collections.abc import Iterator
from http.client import HTTPException

import pytest

from tests.tools.echo import echo
from tools import web
from tools.gate import Gate, Mode
from tools.processes import port_is_free
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
