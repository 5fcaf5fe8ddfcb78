"""tools.web: a request goes where it is sent, and nowhere else."""

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPException

import pytest

from tests.tools.echo import echo
from tools import web
from tools.processes import LOOPBACK, free_port


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with echo() as port:
        yield f"http://{LOOPBACK}:{port}"


def test_it_sends_json_and_the_headers(url: str) -> None:
    answer = web.request("POST", f"{url}/a?b=c", content={"d": "é"}, headers={"X-E": "f"})
    got = json.loads(answer.body)

    assert answer.status == 201
    assert answer.json() == got
    assert got["path"] == "/a?b=c"
    assert json.loads(got["body"]) == {"d": "é"}
    assert got["headers"]["Content-Type"] == "application/json"
    assert got["headers"]["X-E"] == "f"


def test_without_content_there_is_no_body(url: str) -> None:
    got = json.loads(web.request("GET", url).body)

    assert (got["path"], got["body"]) == ("/", "")
    assert "Content-Type" not in got["headers"]


def test_a_redirect_is_an_answer(url: str) -> None:
    answer = web.request("GET", f"{url}/elsewhere")

    assert (answer.status, answer.headers["Location"]) == (302, "/followed")


def test_a_proxy_is_not_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{LOOPBACK}:{free_port()}")

    assert web.request("GET", url).status == 200


def test_nobody_there_is_an_error_of_the_system() -> None:
    with pytest.raises(ConnectionRefusedError):
        web.request("GET", f"http://{LOOPBACK}:{free_port()}/")


def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    with socket.create_server((LOOPBACK, 0)) as silent, pytest.raises(TimeoutError):
        web.request("GET", f"http://{LOOPBACK}:{silent.getsockname()[1]}/", timeout=0.05)


def test_an_answer_that_is_no_http_is_told() -> None:
    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(b"what?\r\n\r\n")

    with socket.create_server((LOOPBACK, 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(HTTPException):
            web.request("GET", f"http://{LOOPBACK}:{server.getsockname()[1]}/")
        thread.join()
