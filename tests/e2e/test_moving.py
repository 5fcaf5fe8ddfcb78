"""A running homeserver moves: from SQLite to PostgreSQL, and then its passwords to Lalepass.

It is what docs/scaling.md tells an operator to do, with Synapse's own program and the statements
from that page.
"""

import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import ServiceHere
from tests.e2e.conftest import SYNAPSE, synapse_config
from tests.e2e.parts import Homeserver, register_locally, token_path
from tests.e2e.sessions import CLIENT, log_in, mxid, who_am_i
from tests.e2e.test_workers import has
from tests.e2e.waiting import until
from tests.servers.postgres import SUPERUSER, Database, Postgres
from tools.processes import free_port
from tools.service import Service
from tools.synapse import SynapseConfig
from tools.workers import database_options

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parent.parent.parent / "docs" / "scaling.md").read_text(encoding="utf-8")
PASSWORD = "moving-house-9"
PEPPER = "a pepper of Synapse's"


def statements() -> list[str]:
    """What the page has for PostgreSQL: the table for the profiles, and the accounts as lines."""
    marked = r"<!-- tests/e2e/test_moving.py runs this. -->\n```sql\n(.*?)```"
    return [str(statement) for statement in re.findall(marked, PAGE, re.DOTALL)]


@dataclass(frozen=True)
class House:
    """A homeserver, which does not run all the time."""

    config: SynapseConfig

    @contextmanager
    def open(self) -> Iterator[Homeserver]:
        self.config.write()
        with self.config.process() as process:
            process.wait_until_healthy(timeout=240)
            yield Homeserver(self.config)

    def with_options(self, **options: Any) -> "House":
        """The same homeserver with other options in its file."""
        return House(replace(self.config, extra={**self.config.extra, **options}))


@pytest.fixture
def lalepass(tmp_path: Path) -> Iterator[Service]:
    """A service without anybody, which knows Synapse's pepper."""
    pepper = tmp_path / "pepper"
    pepper.write_text(f"{PEPPER}\n", encoding="utf-8")
    service = ServiceHere(
        directory=tmp_path / "service",
        port=free_port(),
        environment={"LALEPASS_HASHING__SYNAPSE_PEPPER_PATH": str(pepper)},
    )
    service.init()
    scopes = ("--scope", "check", "--scope", "feed")
    service.run("token", "create", "synapse", *scopes, "--output", str(token_path(service)))
    with service.process() as process:
        process.wait_until_healthy()
        yield service


@pytest.fixture
def old(tmp_path: Path, lalepass: Service) -> House:
    """A homeserver on SQLite, without the module."""
    return House(
        synapse_config(
            tmp_path / "synapse",
            lalepass,
            lalepass.address,
            modules=[],
            password_config={"enabled": True, "localdb_enabled": True, "pepper": PEPPER},
            bcrypt_rounds=4,
            registration_shared_secret="for this test only",
            # What it does by and by after an upgrade, it does at once.
            background_updates={"sleep_enabled": False},
        )
    )


def move(database: Path, house: House, options: dict[str, object]) -> None:
    """Run Synapse's own program, with a file of its own as the page has it."""
    target = house.config.path.with_name("homeserver-postgres.yaml")
    homeserver = yaml.safe_load(house.config.path.read_text(encoding="utf-8"))
    target.write_text(yaml.safe_dump({**homeserver, "database": options}), encoding="utf-8")
    done = subprocess.run(
        [
            *(SYNAPSE, "-m", "synapse._scripts.synapse_port_db"),
            *("--sqlite-database", str(database), "--postgres-config", str(target)),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def has_settled(homeserver: Homeserver, session: dict[str, Any]) -> bool:
    """Whether the database is as this release wants it: else the program does nothing."""
    path = "/_synapse/admin/v1/background_updates/status"
    status = homeserver.call("GET", path, token=session["access_token"])
    assert status.status_code == 200, status.text
    return bool(status.json()["current_updates"] == {})


def say(homeserver: Homeserver, session: dict[str, Any], room: str, text: str) -> None:
    path = f"{CLIENT}/rooms/{room}/send/m.room.message/{text}"
    body = {"msgtype": "m.text", "body": text}
    answer = homeserver.call("PUT", path, body, token=session["access_token"])
    assert answer.status_code == 200, answer.text


def said(homeserver: Homeserver, session: dict[str, Any], room: str) -> list[str]:
    path = f"{CLIENT}/rooms/{room}/messages?dir=f&limit=100"
    answer = homeserver.call("GET", path, token=session["access_token"])
    assert answer.status_code == 200, answer.text
    messages = (event["content"] for event in answer.json()["chunk"])
    return [message["body"] for message in messages if "body" in message]


def to_postgresql(old: House, database: Database) -> tuple[dict[str, Any], str]:
    """Move while people go on; return a session of before, and the room that they talk in."""
    make_table, _ = statements()
    files = old.config.directory
    source, snapshot = files / "homeserver.db", files / "snapshot.db"
    options = database_options(port=database.server.port, user=SUPERUSER, name=database.name)
    with old.open() as homeserver:
        register_locally(homeserver, "ann", PASSWORD, admin=True)
        register_locally(homeserver, "ben", PASSWORD)
        homeserver.add_address(mxid("ann"), "email", "ann@x.org")
        # As a module of ours has left it that was there before.
        homeserver.write(make_table)
        homeserver.write("INSERT INTO lalepass_profile VALUES ('@ann:x', 'email', 'ann@x.org')")
        session = log_in(homeserver, "ann", PASSWORD)
        made = homeserver.call("POST", f"{CLIENT}/createRoom", {}, token=session["access_token"])
        room = str(made.json()["room_id"])
        say(homeserver, session, room, "before")
        until(lambda: has_settled(homeserver, session), what="no background updates")
        # Page by page, so that rows keep their numbers, which the program goes by.
        with closing(sqlite3.connect(source)) as db, closing(sqlite3.connect(snapshot)) as copy:
            db.backup(copy)
        database.sql(make_table)
        move(snapshot, old, options)
        say(homeserver, session, room, "meanwhile")
    move(source, old, options)
    return session, room


def test_a_homeserver_moves_to_postgresql_and_its_passwords_to_lalepass(
    tmp_path: Path, old: House, postgres_server: Postgres, lalepass: Service
) -> None:
    if not has("psycopg2"):
        pytest.skip("this Synapse is installed without PostgreSQL's driver")
    database = postgres_server.create_database()
    _, list_accounts = statements()
    session, room = to_postgresql(old, database)
    lines = tmp_path / "users.jsonl"
    lines.write_text(f"{database.sql(list_accounts)}\n", encoding="utf-8")

    lalepass.run("user", "import", str(lines))

    options = database_options(port=postgres_server.port, user=SUPERUSER, name=database.name)
    module = {"url": lalepass.address, "token_path": str(token_path(lalepass))}
    new = old.with_options(
        database=options,
        modules=[
            {
                "module": "lalepass_provider.LalepassProvider",
                "config": {**module, "link_existing": "always"},
            }
        ],
        password_config={"enabled": True, "localdb_enabled": False},
    )
    with new.open() as homeserver:
        assert who_am_i(homeserver, session).json()["user_id"] == mxid("ann")
        assert said(homeserver, session, room) == ["before", "meanwhile"]
        for name in ("ann", "ben"):
            assert log_in(homeserver, name, PASSWORD)["user_id"] == mxid(name)
            assert homeserver.log_in(name, f"not {PASSWORD}").status_code == 403
        # Nobody was signed out by it.
        assert who_am_i(homeserver, session).status_code == 200
    assert "argon2id" in lalepass.run("user", "show", "ben")
    left = "SELECT value FROM lalepass_profile WHERE user_id = '@ann:x'"
    assert database.sql(left) == "ann@x.org"
    postgres_server.drop_database(database.name)
