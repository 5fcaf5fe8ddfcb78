"""People in the profile `scale`: they log in, talk and send files, at the proxy or a process."""

import json
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count
from typing import Any, Final
from urllib.parse import quote

from tests.docker.stack import Stack, docker

CLIENT: Final = "/_matrix/client/v3"
PROXY: Final = "proxy"
GENERIC: Final = ("synapse-generic-1", "synapse-generic-2")
ANSWERING: Final = ("synapse-main", *GENERIC)
_PORT: Final = 8008
_NUMBERS: Final = count(1)

NO_ANSWER: Final = 0
"""In the place of a status."""


@dataclass(frozen=True)
class Said:
    """What came back."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Chat:
    """The homeserver, by any of its doors."""

    stack: Stack
    timeout: float = 30.0

    def call(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        token: str = "",
        at: str = PROXY,
        kind: str = "application/json",
    ) -> Said:
        """Ask the proxy or a process; bytes go as they are, all else as JSON."""
        body = content if isinstance(content, bytes) or content is None else _json(content)
        headers = {"Content-Type": kind} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        host, port = ("127.0.0.1", self.stack.port) if at == PROXY else (self._address(at), _PORT)
        connection = HTTPConnection(host, port, timeout=self.timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return Said(answer.status, answer.read())
        except (OSError, HTTPException):
            return Said(NO_ANSWER, b"")
        finally:
            connection.close()

    def log_in(self, user: str, password: str, *, at: str = PROXY) -> "Person":
        """Return somebody who is in."""
        said = self.try_log_in(user, password, at=at)
        assert said.status == 200, said
        return Person(self, said.json()["user_id"], said.json()["access_token"])

    def try_log_in(self, user: str, password: str, *, at: str = PROXY) -> Said:
        """Return what somebody is told who logs in."""
        content = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user},
            "password": password,
        }
        return self.call("POST", f"{CLIENT}/login", content, at=at)

    def _address(self, service: str) -> str:
        networks = self.stack.inspect(service)["NetworkSettings"]["Networks"]
        return str(networks[self.stack.network("outside")]["IPAddress"])


@dataclass
class Person:
    """Somebody who is in."""

    chat: Chat
    user_id: str
    token: str
    since: str = field(default="", init=False)

    def call(self, method: str, path: str, content: object = None, *, at: str = PROXY) -> Said:
        """Ask for something."""
        return self.chat.call(method, path, content, token=self.token, at=at)

    def make_room(self, *invited: "Person") -> str:
        """Make a room that they are all in."""
        body = {"preset": "private_chat", "invite": [person.user_id for person in invited]}
        made = self.call("POST", f"{CLIENT}/createRoom", body)
        assert made.status == 200, made
        room = str(made.json()["room_id"])
        for person in invited:
            joined = person.call("POST", f"{CLIENT}/join/{quote(room)}", {})
            assert joined.status == 200, joined
        return room

    def send(self, room: str, text: str, *, at: str = PROXY) -> Said:
        """Say something."""
        path = f"{CLIENT}/rooms/{quote(room)}/send/m.room.message/{next(_NUMBERS)}"
        return self.call("PUT", path, {"msgtype": "m.text", "body": text}, at=at)

    def sync(self, *, wait: float = 0.0, at: str = PROXY) -> Said:
        """Read what is new since the last time."""
        since = f"&since={self.since}" if self.since else ""
        said = self.call("GET", f"{CLIENT}/sync?timeout={int(wait * 1000)}{since}", at=at)
        if said.status == 200:
            self.since = said.json()["next_batch"]
        return said

    def hears(self, room: str, text: str, *, tries: int = 10, at: str = PROXY) -> bool:
        """Whether somebody reads this in a room, in so many syncs of a second."""
        for _ in range(tries):
            said = self.sync(wait=1.0, at=at)
            if said.status != 200:
                return False
            rooms = said.json().get("rooms", {}).get("join", {})
            events = rooms.get(room, {}).get("timeline", {}).get("events", [])
            if any(event["content"].get("body") == text for event in events):
                return True
        return False

    def upload(self, content: bytes, *, kind: str = "application/octet-stream") -> Said:
        """Store a file."""
        path = "/_matrix/media/v3/upload?filename=file"
        return self.chat.call("POST", path, content, token=self.token, kind=kind)

    def put(self, content: bytes, *, kind: str = "application/octet-stream") -> str:
        """Store a file and return its id."""
        said = self.upload(content, kind=kind)
        assert said.status == 200, said
        return str(said.json()["content_uri"]).rpartition("/")[2]

    def download(self, media_id: str) -> Said:
        """Read a file."""
        server = self.user_id.partition(":")[2]
        return self.call("GET", f"/_matrix/client/v1/media/download/{server}/{media_id}")


def answered(stack: Stack, method: str, path: str) -> list[str]:
    """Return which processes the proxy says to have led such requests to, in their order."""
    # "ADDRESS BACKEND/SERVER STATUS METHOD PATH ..."
    lines = [line.split() for line in docker("logs", stack.container(PROXY)).splitlines()]
    return [
        words[1].partition("/")[2]
        for words in lines
        if len(words) > 4 and words[3:5] == [method, path]
    ]


def _json(content: object) -> bytes:
    return json.dumps(content).encode()
