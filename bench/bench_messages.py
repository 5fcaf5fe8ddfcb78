"""What a message takes in Synapse: processor time of the homeserver, bytes in PostgreSQL.

One process without workers, one room of ten, plain text without encryption, no federation; nobody
reads along. Bytes are counted, tables with their indexes; processor time is that of the process
with all its threads, and drifts with other work on the machine. `bench/sizing_model.py` takes its
figures from here.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import bcrypt

from bench.figures import Figure, asked_to_be_quick, report
from bench.homeservers import PASSWORD, Homeserver, running
from tests.servers.pair import primary
from tests.servers.postgres import SUPERUSER, Database
from tools.processes import LOOPBACK
from tools.workers import database_options

_MEMBERS: Final = 10
_CLIENT: Final = "/_matrix/client/v3"
_TEXT: Final = "A message of the length that people write to each other at work, all in all."
_SIZE: Final = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
_FLEETING: Final = "SELECT pg_total_relation_size('event_push_actions')"
"""What a message is for those who have not read it: Synapse throws it away by and by."""

_ADD: Final = """
    INSERT INTO users (name, password_hash, creation_ts)
        SELECT '@u' || n || ':localhost', '{record}', 0 FROM generate_series(0, {last}) AS n;
    INSERT INTO profiles (user_id, full_user_id)
        SELECT substr(split_part(name, ':', 1), 2), name FROM users
"""
_GENEROUS: Final = {"per_second": 10_000, "burst_count": 10_000}


class Person:
    """Somebody who is logged in."""

    def __init__(self, port: int, number: int) -> None:
        self.mxid = f"@u{number}:localhost"
        self._connection = HTTPConnection(LOOPBACK, port, timeout=120)
        self._token = ""
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.mxid},
            "password": PASSWORD,
        }
        self._token = self.ask("POST", "/login", login)["access_token"]

    def ask(self, method: str, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Ask the homeserver for something that it does."""
        head = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._connection.request(method, _CLIENT + path, json.dumps(body), head)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered with {answer.status}: {content[:200]!r}")
        found: dict[str, Any] = json.loads(content)
        return found


def add_people(database: Database) -> None:
    """Put accounts into the database that can log in at once."""
    record = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    database.sql(_ADD.format(record=record, last=_MEMBERS - 1))


def talk(people: Sequence[Person], room: str, numbers: range) -> None:
    """Have everybody in the room write in turn."""
    for number in numbers:
        path = f"/rooms/{room}/send/m.room.message/{number}"
        body = {"msgtype": "m.text", "body": _TEXT}
        people[number % len(people)].ask("PUT", path, body)


def measure(homeserver: Homeserver, database: Database, messages: int) -> list[Figure]:
    """Make a room, and measure what messages in it take."""
    people = [Person(homeserver.port, number) for number in range(_MEMBERS)]
    host, *guests = people
    made = host.ask("POST", "/createRoom", {"preset": "public_chat"})
    room = str(made["room_id"])
    for guest in guests:
        guest.ask("POST", f"/join/{room}", {})
    talk(people, room, range(messages // 4))
    size, fleeting = int(database.sql(_SIZE)), int(database.sql(_FLEETING))
    cpu = homeserver.cpu_seconds()
    talk(people, room, range(messages, 2 * messages))
    cpu = homeserver.cpu_seconds() - cpu
    grown = int(database.sql(_SIZE)) - size
    passing = int(database.sql(_FLEETING)) - fleeting
    return [
        Figure("one message, processor time of Synapse", 1000 * cpu / messages, "ms"),
        Figure("one message, in PostgreSQL", grown / messages, "B"),
        Figure("of these, until the others have read it", passing / messages, "B"),
    ]


def main() -> None:
    """Measure and report."""
    messages = 200 if asked_to_be_quick(__doc__) else 1000
    with tempfile.TemporaryDirectory() as folder, primary() as server:
        database = server.create_database()
        extra: dict[str, object] = {
            "modules": [],
            "password_config": {"enabled": True, "localdb_enabled": True},
            "database": database_options(port=server.port, user=SUPERUSER, name=database.name),
            "rc_message": _GENEROUS,
            "rc_joins": {"local": _GENEROUS},
        }
        with running(Path(folder) / "homeserver", extra=extra) as homeserver:
            add_people(database)
            figures = measure(homeserver, database, messages)
    report("messages", f"A room of {_MEMBERS}, one process on PostgreSQL:", figures)


if __name__ == "__main__":
    main()
