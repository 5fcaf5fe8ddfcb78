"""A service and a homeserver as processes, and what a Matrix client does with them."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tools.processes import LOOPBACK, Process
from tools.synapse import SynapseConfig

SERVER_NAME = "hs.example"
_CLIENT = "/_matrix/client/v3"


@dataclass
class Service:
    """A Lalepass service on SQLite, operated by its command line."""

    directory: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def token_path(self) -> Path:
        return self.directory / "token"

    @property
    def database(self) -> Path:
        return self.directory / "lalepass.db"

    def cli(self, *arguments: str, stdin: str = "") -> str:
        """Run a command of the operator's and return what it printed."""
        command = [sys.executable, "-m", "lalepass_service", *arguments]
        done = subprocess.run(
            command,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{arguments[:2]}: {done.stderr}"
        return done.stdout

    def set_up(self) -> None:
        self.directory.mkdir()
        self.cli("init", "--directory", str(self.directory))
        self.cli("token", "create", "synapse", "--scope", "check", "--output", "token")

    def add_user(self, localpart: str, password: str, *options: str) -> None:
        self.cli("user", "add", localpart, "--password-stdin", *options, stdin=f"{password}\n")

    def process(self) -> Process:
        return Process(
            name="Lalepass",
            command=[sys.executable, "-m", "lalepass_service", "serve"],
            directory=self.directory,
            log=self.directory / "service.log",
            health_url=f"{self.url}/health/ready",
            environment={"LALEPASS_SERVER__PORT": str(self.port), "LALEPASS_LOG__LEVEL": "debug"},
        )


@dataclass
class Homeserver:
    """A real Synapse, and its database as it is on disk."""

    config: SynapseConfig

    @property
    def url(self) -> str:
        return self.config.address

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from Synapse's database."""
        path = self.config.directory / "homeserver.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(query, values).fetchall()

    def add_account(self, mxid: str) -> None:
        """Put an account there as an older Synapse may have left it."""
        path = self.config.directory / "homeserver.db"
        with closing(sqlite3.connect(path, timeout=10)) as database, database:
            database.execute(
                "INSERT INTO users (name, creation_ts, admin, is_guest, deactivated)"
                " VALUES (?, 0, 0, 0, 0)",
                (mxid,),
            )

    def accounts(self) -> set[str]:
        return {name for (name,) in self.rows("SELECT name FROM users")}

    def devices(self, mxid: str) -> set[str]:
        query = "SELECT device_id FROM devices WHERE user_id = ? AND NOT hidden"
        return {device for (device,) in self.rows(query, mxid)}

    def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # ASCII with escapes, so that lone surrogates can be sent as well
        content = None if body is None else json.dumps(body).encode("ascii")
        return httpx.request(
            method, self.url + path, content=content, headers=headers, timeout=30, trust_env=False
        )

    def log_in(self, identifier: dict[str, Any] | str, password: object) -> httpx.Response:
        body = {
            "type": "m.login.password",
            "identifier": by_name(identifier) if isinstance(identifier, str) else identifier,
            "password": password,
        }
        return self.call("POST", f"{_CLIENT}/login", body)

    def delete_device(
        self, login: dict[str, Any], password: str, *, identifier: str | None = None
    ) -> httpx.Response:
        """Remove the login's own device, which Synapse lets be confirmed by the password (UIA)."""
        path = f"{_CLIENT}/devices/{login['device_id']}"
        token = login["access_token"]
        asked = self.call("DELETE", path, {}, token=token)
        assert asked.status_code == 401, asked.text
        auth = {
            "type": "m.login.password",
            "identifier": by_name(identifier or login["user_id"]),
            "password": password,
            "session": asked.json()["session"],
        }
        return self.call("DELETE", path, {"auth": auth}, token=token)


def by_name(typed: str) -> dict[str, Any]:
    return {"type": "m.id.user", "user": typed}


def by_email(address: str) -> dict[str, Any]:
    return {"type": "m.id.thirdparty", "medium": "email", "address": address}


def by_phone(country: str, number: str) -> dict[str, Any]:
    # The specification wants `phone`; Synapse 1.163 fails without the older `number` beside it.
    return {"type": "m.id.phone", "country": country, "phone": number, "number": number}


def by_msisdn(number: str) -> dict[str, Any]:
    return {"type": "m.id.thirdparty", "medium": "msisdn", "address": number}


def statuses(answers: Sequence[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]
