"""What an operator does with a service, and a Matrix client with a homeserver."""

import json
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from nacl.pwhash import argon2id

from tests.plain import NO_AUTHORITIES
from tools.service import Service
from tools.synapse import SynapseConfig

SERVER_NAME = "hs.example"
Door = dict[str, Any] | str
"""What a person types: an identifier as Matrix has it, or a name or MXID."""
_CLIENT = "/_matrix/client/v3"


def token_path(service: Service) -> Path:
    """Where the homeserver's token is."""
    return service.directory / "token"


@dataclass
class Person:
    """Somebody with a password."""

    password: str
    emails: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    display_name: str | None = None


def add_people(service: Service, people: Mapping[str, Person]) -> None:
    """Add several people with one command, by the hashes of their passwords."""
    lines = [
        {
            "localpart": name,
            "hash": argon2id.str(person.password.encode(), 2, 19456 * 1024).decode(),
            "emails": person.emails,
            "phones": person.phones,
            "display_name": person.display_name,
        }
        for name, person in people.items()
    ]
    file = service.directory / "people.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    service.run("user", "import", str(file))


class Client(ABC):
    """Whoever asks a homeserver as a Matrix client does."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is asked."""

    def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # ASCII with escapes, so that lone surrogates can be sent as well
        content = None if body is None else json.dumps(body).encode("ascii")
        return httpx.request(
            method,
            self.url + path,
            content=content,
            headers=headers,
            timeout=30,
            trust_env=False,
            verify=NO_AUTHORITIES,
        )

    def log_in(self, identifier: Door, password: object) -> httpx.Response:
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


@dataclass(frozen=True)
class Address(Client):
    """Any address that answers clients."""

    address: str

    @property
    def url(self) -> str:
        return self.address


@dataclass
class Homeserver(Client):
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

    def write(self, statement: str, *values: object) -> None:
        """Change Synapse's database behind its back."""
        path = self.config.directory / "homeserver.db"
        with closing(sqlite3.connect(path, timeout=30)) as database, database:
            database.execute(statement, values)

    def metric(self, name: str) -> dict[str, float]:
        """Return the values of a metric by its labels, as Synapse shows them."""
        text = self.call("GET", "/_synapse/metrics").text
        found = (line.rpartition(" ") for line in text.splitlines())
        values = {key: float(value) for key, _, value in found if not key.startswith("#")}
        return {
            key.removeprefix(name): value
            for key, value in values.items()
            if key == name or key.startswith(f"{name}{{")
        }

    def add_account(self, mxid: str, **columns: object) -> None:
        """Put an account there as an older Synapse may have left it."""
        row = {"name": mxid, "creation_ts": 0, "admin": 0, "is_guest": 0, "deactivated": 0}
        row.update(columns)
        marks = ", ".join("?" * len(row))
        self.write(f"INSERT INTO users ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608 - our own names

    def add_address(self, mxid: str, medium: str, address: str) -> None:
        """Give an account an address, as its owner did."""
        self.write("INSERT INTO user_threepids VALUES (?, ?, ?, 1, 1)", mxid, medium, address)

    def addresses(self, mxid: str) -> set[str]:
        query = "SELECT address FROM user_threepids WHERE user_id = ?"
        return {address for (address,) in self.rows(query, mxid)}

    def links(self, mxid: str) -> set[str]:
        """The ids of the users of Lalepass whose account this is."""
        query = (
            "SELECT external_id FROM user_external_ids"
            " WHERE auth_provider = 'lalepass' AND user_id = ?"
        )
        return {account_id for (account_id,) in self.rows(query, mxid)}

    def accounts(self) -> set[str]:
        return {name for (name,) in self.rows("SELECT name FROM users")}

    def devices(self, mxid: str) -> set[str]:
        query = "SELECT device_id FROM devices WHERE user_id = ? AND NOT hidden"
        return {device for (device,) in self.rows(query, mxid)}


def register_locally(
    homeserver: Homeserver, localpart: str, password: str, *, admin: bool = False
) -> None:
    """Make an account with a password in Synapse's own database, as its administrator does."""
    subprocess.run(
        [
            *(sys.executable, "-m", "synapse._scripts.register_new_matrix_user"),
            *("-c", str(homeserver.config.path), "-u", localpart, "-p", password),
            "--admin" if admin else "--no-admin",
            homeserver.url,
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )


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
