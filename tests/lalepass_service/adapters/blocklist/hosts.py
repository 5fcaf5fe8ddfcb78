"""Range hosts on loopback, each of which behaves in one particular way."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Behaviour = Callable[[socket.socket, threading.Event], None]
"""Called with each connection once its request is here; the event ends the test."""


@dataclass
class Host:
    """Can be asked what it was asked."""

    url: str
    requests: list[bytes] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        lines = self.requests[-1].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def says(body: bytes, *, status: str = "200 OK", extra: str = "") -> Behaviour:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode()
    return lambda connection, _: connection.sendall(head + body)


def drips(connection: socket.socket, over: threading.Event) -> None:
    """Send a byte at a time, each of them soon enough for a timeout that begins anew."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not over.wait(0.02):
        connection.sendall(b"0")


def floods(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"0" * 65536)


def hangs(_: socket.socket, over: threading.Event) -> None:
    over.wait(30)


@contextmanager
def hosting(behaviour: Behaviour) -> Iterator[Host]:
    """Listen on a free port of loopback for as long as the block runs."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    host = Host(f"http://127.0.0.1:{listener.getsockname()[1]}/range")
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            host.requests.append(connection.recv(65536))
            behaviour(connection, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield host
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join(10)
            assert not thread.is_alive()
