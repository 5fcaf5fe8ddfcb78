"""A Lalepass service whose people are a dictionary of the test.

For what a real service would need many commands to say, or never says: a profile that changes from
one login to the next, a name that another person gets, an answer against the contract.
"""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tools.processes import LOOPBACK

_PASSWORD = "right-7"
TOKEN = "lalepass_0123456789ab_" + "s" * 43


@dataclass
class Someone:
    """A user of the service."""

    password: str
    user: dict[str, Any]
    """As in the answer to an accepted check."""


@dataclass
class ScriptedService:
    """Listens on loopback for as long as it is entered."""

    people: dict[str, Someone] = field(default_factory=dict)
    """By localpart."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The identifier of each check that has arrived."""
    up: bool = True
    """Otherwise every connection is closed without an answer."""

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler_of(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(timeout=10)
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def add(self, localpart: str, password: str = _PASSWORD, **said: Any) -> str:
        """Make or replace a user, and return the password."""
        user = {"id": f"id-of-{localpart}", "localpart": localpart, **said}
        self.people[localpart] = Someone(password, user)
        return password

    def answer(self, check: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(check["identifier"])
        someone = self._find(check["identifier"])
        if someone is None or someone.password != check["password"]:
            return {"result": "refused", "reason": "credentials"}
        return {"result": "accepted", "user": someone.user}

    def _find(self, identifier: dict[str, str]) -> Someone | None:
        if identifier["kind"] == "user":
            return self.people.get(identifier["localpart"])
        key, value = (
            ("emails", identifier["address"])
            if identifier["kind"] == "email"
            else ("phones", identifier["number"])
        )
        matches = (one for one in self.people.values() if value in one.user.get(key, ()))
        return next(matches, None)


def _handler_of(service: ScriptedService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer is two writes; the second would wait for the first to be acknowledged.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not service.up:
                self.close_connection = True
            elif self.path == "/v1/credentials/check":
                self._say(200, service.answer(json.loads(body)))
            else:
                self._say(404, {"type": "x", "title": "x", "status": 404, "code": "not_found"})

        def do_GET(self) -> None:
            self._say(404, {"type": "x", "title": "x", "status": 404, "code": "not_found"})

        def _say(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
