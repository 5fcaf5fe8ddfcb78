"""Another server of Matrix, as far as taking what is sent to it goes."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.processes import LOOPBACK


class FarServer:
    """Keeps the messages between devices that other servers send, for as long as entered.

    Its name, which is its address, needs no look-up; who sends must not verify its certificate.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        far = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                far.take(self.path, json.loads(self.rfile.read(length)))
                body = b'{"pdus": {}}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.received: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    @property
    def name(self) -> str:
        """What comes behind the colon in the names of its people."""
        return f"{LOOPBACK}:{self._server.server_address[1]}"

    def take(self, path: str, transaction: dict[str, Any]) -> None:
        """Note what a transaction has for devices."""
        if path.startswith("/_matrix/federation/v1/send/"):
            edus = transaction.get("edus", ())
            sent = (edu["content"] for edu in edus if edu["edu_type"] == "m.direct_to_device")
            self.received += sent
