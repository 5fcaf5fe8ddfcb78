"""A server that answers every request with what it got."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tools.processes import LOOPBACK


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(302 if self.path == "/elsewhere" else 200)

    def do_POST(self) -> None:
        self._answer(201)

    def _answer(self, status: int) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        got = {"path": self.path, "headers": dict(self.headers), "body": body}
        answer = json.dumps(got).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Location", "/followed")
        self.end_headers()
        # Some tests do not wait for it.
        with suppress(ConnectionError):
            self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def echo() -> Iterator[int]:
    """Run it, and yield its port."""
    with ThreadingHTTPServer((LOOPBACK, 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
