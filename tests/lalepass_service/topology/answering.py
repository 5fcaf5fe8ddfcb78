"""Parts that answer as a test says: with words over HTTP, or with bytes of any kind."""

import http.server
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from lalepass_service.topology.parts import Address

LOOPBACK = "127.0.0.1"


@dataclass
class Web:
    """What is answered, by path, and what was asked."""

    port: int
    answers: dict[str, tuple[int, dict[str, str], bytes]]
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"


@contextmanager
def web(
    answers: Mapping[str, tuple[int, dict[str, str], bytes]],
    *,
    tls: ssl.SSLContext | None = None,
    does: Callable[[str, str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]
    | None = None,
) -> Iterator[Web]:
    """Answer each path with a status, headers and a body; 404 to others, or whatever `does` says.

    A header `Date` goes in the place of the real one; an empty one is left out.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> object:
            # What the base class looks for: one for each method of HTTP.
            if not name.startswith("do_"):
                raise AttributeError(name)
            return self.answer

        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made.asked.append((self.command, self.path, dict(self.headers), body))
            if does is not None:
                status, headers, content = does(*made.asked[-1])
            else:
                status, headers, content = made.answers.get(self.path, (404, {}, b""))
            self.send_response_only(status)
            sent = {"Date": self.date_time_string(), "Content-Length": str(len(content))} | headers
            for name, value in sent.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    made = Web(server.server_address[1], dict(answers))
    with _running(server):
        yield made


@contextmanager
def wire(*says: bytes, hangs: bool = False) -> Iterator[Address]:
    """Answer whatever comes with one of these after the other, and cut; or keep silent."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            for words in says:
                if not self.request.recv(65536):
                    return
                self.request.sendall(words)
            if hangs:
                over.wait(60)

    server = socketserver.ThreadingTCPServer((LOOPBACK, 0), Handler)
    with _running(server):
        try:
            yield Address(LOOPBACK, server.server_address[1])
        finally:
            over.set()


@contextmanager
def _running(server: socketserver.TCPServer) -> Iterator[None]:
    # What a test has scared away is no traceback on its output.
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
