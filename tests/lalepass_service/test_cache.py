"""The server as a process, which remembers right passwords for a while."""

import json
from pathlib import Path

import httpx
import pytest

from lalepass_wire import paths
from tests.commands import ServiceHere
from tools.processes import free_port
from tools.service import Service

PASSWORD, ANOTHER = "correct horse battery", "staple battery horse"
_PATIENCE = 30
_ACCEPTED = ("accepted", None)


@pytest.fixture
def made(tmp_path: Path) -> Service:
    """A service with an account, not running."""
    service = ServiceHere(
        directory=tmp_path / "made",
        port=free_port(),
        environment={"LALEPASS_CHECK__CACHE_SECONDS": "300"},
    )
    service.init()
    service.run("user", "add", "alice", "--password-stdin", password=PASSWORD)
    return service


class Caller:
    """Asks, and looks at the figures."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def check(self, password: str) -> tuple[str, str | None]:
        identifier = {"kind": "user", "localpart": "alice"}
        body = {"identifier": identifier, "password": password}
        answer = self._client.post(paths.CHECK_CREDENTIALS, json=body).raise_for_status().json()
        return answer["result"], answer.get("reason")

    def figure(self, name: str) -> int:
        text = self._client.get(paths.METRICS).text
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return int(float(line.split()[1]))

    @property
    def hashes(self) -> int:
        return self.figure("lalepass_hasher_completed_total")

    @property
    def hits(self) -> int:
        return self.figure("lalepass_checks_from_cache_total")


def test_what_was_right_is_not_hashed_again_until_something_is_changed(made: Service) -> None:
    token = made.run("token", "create", "hs", "--scope", "check").strip()
    headers = {"Authorization": f"Bearer {token}"}
    with (
        made.process() as process,
        httpx.Client(base_url=made.address, headers=headers, timeout=_PATIENCE) as client,
    ):
        process.wait_until_healthy()
        caller = Caller(client)
        assert [caller.check(PASSWORD) for _ in range(4)] == [_ACCEPTED] * 4
        assert (caller.hashes, caller.hits) == (1, 3)
        assert caller.check("wrong") == caller.check("wrong") == ("refused", "credentials")
        assert (caller.hashes, caller.hits) == (3, 3)

        made.run("user", "set-password", "alice", "--password-stdin", password=ANOTHER)
        assert caller.check(PASSWORD) == ("refused", "credentials")
        assert [caller.check(ANOTHER) for _ in range(2)] == [_ACCEPTED] * 2
        assert (caller.hashes, caller.hits) == (5, 4)
        made.run("user", "disable", "alice")
        assert caller.check(ANOTHER) == ("refused", "disabled")
        assert (caller.hashes, caller.hits) == (6, 4)

    entries = json.loads(made.run("audit", "tail", "--event", "check", "--json"))["entries"]
    told = [entry["details"] for entry in entries if entry["outcome"] == "accepted"]
    cached = {"from_cache": True}
    assert told == [{}, cached, cached, cached, {}, cached]
    log = made.log.read_text(encoding="utf-8")
    assert "ready" in log
    assert not any(secret in log for secret in (PASSWORD, ANOTHER, token))
