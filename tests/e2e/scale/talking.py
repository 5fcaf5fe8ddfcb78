"""What people do in rooms, through whichever process."""

from typing import Any

import httpx

from tests.e2e.parts import Client
from tests.e2e.sessions import CLIENT, mxid


def room_of(client: Client, session: dict[str, Any], *invited: str) -> str:
    body = {"preset": "private_chat", "invite": [mxid(name) for name in invited]}
    answer = client.call("POST", f"{CLIENT}/createRoom", body, token=session["access_token"])
    assert answer.status_code == 200, answer.text
    return str(answer.json()["room_id"])


def join(client: Client, session: dict[str, Any], room: str) -> None:
    answer = client.call("POST", f"{CLIENT}/join/{room}", {}, token=session["access_token"])
    assert answer.status_code == 200, answer.text


def send(client: Client, session: dict[str, Any], room: str, text: str) -> httpx.Response:
    body = {"msgtype": "m.text", "body": text}
    path = f"{CLIENT}/rooms/{room}/send/m.room.message/{text}"
    return client.call("PUT", path, body, token=session["access_token"])


class Reader:
    """Somebody who reads one message after the other by `/sync`."""

    def __init__(self, client: Client, session: dict[str, Any]) -> None:
        self.client = client
        self._token = session["access_token"]
        self._since = ""
        self.read(wait=0)

    def sees(self, room: str, text: str) -> bool:
        joined = self.read(wait=500)["rooms"]["join"] if self._since else {}
        events = joined.get(room, {}).get("timeline", {}).get("events", ())
        return any(event["content"].get("body") == text for event in events)

    def read(self, *, wait: int = 0) -> dict[str, Any]:
        since = f"&since={self._since}" if self._since else ""
        answer = self.client.call("GET", f"{CLIENT}/sync?timeout={wait}{since}", token=self._token)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = {"rooms": {"join": {}}, **answer.json()}
        self._since = page["next_batch"]
        page["rooms"].setdefault("join", {})
        return page
