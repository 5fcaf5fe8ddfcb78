"""A push gateway that counts: where Synapse sends the notifications of people's phones."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

PATH = "/_matrix/push/v1/notify"


class PushGateway:
    """Listens on loopback for as long as it is entered."""

    def __init__(self) -> None:
        self.notified: Counter[str] = Counter()
        """How many messages each phone (its push key) has been told of."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def pusher(self, phone: str) -> dict[str, Any]:
        """The body of `POST /pushers/set` for a phone."""
        return {
            "kind": "http",
            "app_id": "example.test",
            "app_display_name": "Test",
            "device_display_name": phone,
            "pushkey": phone,
            "lang": "en",
            "data": {"url": self.url},
        }

    def _note(self, body: bytes) -> None:
        notification = json.loads(body)["notification"]
        if "event_id" in notification:  # and no mere count of what is unread
            for device in notification["devices"]:
                self.notified[device["pushkey"]] += 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        note = self._note

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                note(self.rfile.read(int(self.headers["Content-Length"])))
                answer = b'{"rejected":[]}'
                self.send_response(200)
                # without it Synapse takes the answer for half of one, and pushes again
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
