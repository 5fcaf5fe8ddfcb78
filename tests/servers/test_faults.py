"""Each fault of a link, as both of its ends see it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.servers.faults import Link
from tools.processes import LOOPBACK, port_is_free

SHORT = 0.3
FENCE = 20.0


class Echo:
    """Sends back what it gets, in capitals, and remembers how each connection ended."""

    def __init__(self) -> None:
        self.heard = b""
        self.ends: list[str] = []
        self._door = socket.create_server((LOOPBACK, 0))
        self.port: int = self._door.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for thread in self._threads:
            thread.join(FENCE)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.settimeout(FENCE)
            try:
                while data := client.recv(4096):
                    self.heard += data
                    client.sendall(data.upper())
                self.ends.append("closed")
            except ConnectionResetError:
                self.ends.append("reset")


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as echo:
        yield echo


@pytest.fixture
def link(echo: Echo) -> Iterator[Link]:
    with Link(echo.port) as link:
        yield link


@pytest.fixture
def client(link: Link) -> Iterator[socket.socket]:
    """Connected before anything goes wrong."""
    with connect(link) as client:
        assert ask(client, b"before") == b"BEFORE"
        yield client


def connect(link: Link, timeout: float = FENCE) -> socket.socket:
    return socket.create_connection((LOOPBACK, link.port), timeout)


def ask(client: socket.socket, question: bytes) -> bytes:
    client.sendall(question)
    return client.recv(4096)


def connect_and_read(link: Link) -> bytes:
    with connect(link) as client:
        return client.recv(4096)


def until_it_says(echo: Echo, end: str) -> None:
    deadline = time.monotonic() + FENCE
    while end not in echo.ends:
        assert time.monotonic() < deadline, f"not {end}: {echo.ends}"
        time.sleep(0.01)  # noqa: TID251 - with a deadline


def test_without_a_fault_all_goes_through(link: Link, client: socket.socket, echo: Echo) -> None:
    assert ask(client, b"question") == b"QUESTION"
    client.shutdown(socket.SHUT_WR)
    assert client.recv(4096) == b""
    until_it_says(echo, "closed")
    assert link.connections == 1


def test_much_goes_through_whole(client: socket.socket) -> None:
    much = bytes(range(97, 123)) * 40_000
    sending = threading.Thread(target=client.sendall, args=(much,))
    sending.start()
    got = bytearray()
    while len(got) < len(much):
        got += client.recv(1 << 16)
    sending.join()
    assert bytes(got) == much.upper()


def test_one_that_refuses(link: Link, client: socket.socket, echo: Echo) -> None:
    link.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(link)
    with pytest.raises(ConnectionResetError):
        client.recv(4096)
    until_it_says(echo, "reset")

    link.heal()
    with connect(link) as another:
        assert ask(another, b"again") == b"AGAIN"


def test_one_that_resets(link: Link, client: socket.socket, echo: Echo) -> None:
    link.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(4096)
    until_it_says(echo, "reset")
    # Which step of it fails is a matter of moments.
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        connect_and_read(link)
    assert echo.heard == b"before"

    link.heal()
    with connect(link) as another:
        assert ask(another, b"again") == b"AGAIN"


def test_one_that_resets_once(link: Link, client: socket.socket) -> None:
    link.reset_once()
    with pytest.raises(ConnectionResetError):
        client.recv(4096)
    with connect(link) as another:
        assert ask(another, b"again") == b"AGAIN"


def test_one_that_is_half_open(link: Link, client: socket.socket, echo: Echo) -> None:
    link.half_open()
    client.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        ask(client, b"old")
    with connect(link, SHORT) as another, pytest.raises(TimeoutError):
        ask(another, b"new")
    assert echo.heard == b"before"
    assert echo.ends == []

    # A stream with a hole in it is not gone on with.
    link.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(4096)
    until_it_says(echo, "reset")


def test_one_that_is_half_open_does_not_tell_that_a_client_has_gone(
    link: Link, client: socket.socket, echo: Echo
) -> None:
    link.half_open()
    client.close()
    with connect(link, SHORT) as another, pytest.raises(TimeoutError):
        ask(another, b"new")
    assert echo.ends == []


def test_one_whose_other_end_is_gone(link: Link, client: socket.socket, echo: Echo) -> None:
    link.lose()
    client.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        ask(client, b"old")
    with pytest.raises(TimeoutError):
        connect(link, SHORT)
    assert echo.heard == b"before"

    link.heal()
    with connect(link) as another:
        assert ask(another, b"again") == b"AGAIN"


def test_one_that_is_slow(link: Link, client: socket.socket) -> None:
    link.delay = 0.2
    begun = time.monotonic()
    assert ask(client, b"question") == b"QUESTION"
    assert time.monotonic() - begun >= 0.4

    link.heal()
    assert link.delay == 0


@pytest.mark.parametrize("after", [0, 3])
def test_one_that_cuts_an_answer_whose_question_has_arrived(
    link: Link, client: socket.socket, echo: Echo, after: int
) -> None:
    link.cut_answers(after=after)
    client.sendall(b"question")
    got = client.recv(4096) if after else b""
    with pytest.raises(ConnectionResetError):
        client.recv(4096)
    assert got == b"QUESTION"[:after]
    assert echo.heard == b"beforequestion"
    assert link.cuts == 1


def test_one_that_cuts_the_answer_to_a_certain_question(link: Link, client: socket.socket) -> None:
    link.cut_answers(marker=b"COMMIT")
    assert ask(client, b"select") == b"SELECT"
    assert ask(client, b"COM") == b"COM"
    with pytest.raises(ConnectionResetError):
        ask(client, b"MIT")
    with connect(link) as another:
        assert ask(another, b"select") == b"SELECT"
    assert link.cuts == 1


def test_a_server_that_is_not_there_is_a_reset() -> None:
    with Link(1) as link, pytest.raises(ConnectionResetError):
        connect_and_read(link)


def test_it_leaves_nothing_open(echo: Echo) -> None:
    with Link(echo.port) as link:
        client = connect(link)
        assert ask(client, b"question") == b"QUESTION"
        link.half_open()
        link.lose()
    with client, pytest.raises(ConnectionResetError):
        client.recv(4096)
    until_it_says(echo, "reset")
    assert port_is_free(link.port)
    assert not any(thread.name == "link" for thread in threading.enumerate())
