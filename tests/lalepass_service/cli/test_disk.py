"""Disks that are full or read-only: every command says so in one line, and nothing is lost.

A table has every command that there is, so that a new one finds its place here.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from lalepass_service.cli.console import ExitCode
from lalepass_service.cli.main import app, run
from tests.lalepass_service.cli.operator import PASSWORD, Operator
from tests.lalepass_service.disks import Disk, disk
from tools.processes import free_port

WRITES: dict[str, tuple[str, ...]] = {
    "init": ("--directory", "DISK/another"),
    "serve": (),
    "db migrate": (),
    "db restored": (),
    "db backup": ("DISK/backup.db",),
    "db restore": ("DISK/copy.db", "--yes"),
    "certificate": ("synapse", "--directory", "DISK/tls", "--authority", "DISK/ca"),
    "keys add": (),
    "keys promote": ("SECOND",),
    "keys rewrap": (),
    "keys retire": ("SECOND", "--yes"),
    "user add": ("bob", "--password-stdin"),
    "user import": ("DISK/users.jsonl",),
    "user edit": ("alice", "--display-name", "Alice"),
    "user set-password": ("alice", "--password-stdin"),
    "user disable": ("alice",),
    "user enable": ("gone",),
    "user unlock": ("alice",),
    "user sign-out": ("alice",),
    "user delete": ("alice", "--yes"),
    "token create": ("synapse", "--scope", "check"),
    "token revoke": ("TOKEN",),
    "blocklist build": ("DISK/words", "--output", "DISK/list"),
}
"""Those that change something, each so that it would on a disk with room."""

READS: dict[str, tuple[str, ...]] = {
    "config check": (),
    "db status": (),
    "keys status": (),
    "user list": (),
    "user show": ("alice",),
    "token list": (),
    "audit tail": (),
    "audit export": (),
}
"""Those that read the database. While nobody else has it open, SQLite has to write for that."""

ELSEWHERE = {
    *("calibrate", "doctor", "topology check"),
    *("blocklist check", "blocklist verify", "db copy"),
}
"""Those that have nothing to do with this disk: a copy is made of a file, for a server."""

WAYS = [
    (command, how)
    for command in WRITES
    for how in ("full", "full and in use", "read-only")
    # The service needs no room to begin beside another process: see `test_disk` above this folder.
    # And nothing is restored where a service runs.
    if command not in {"serve", "db restore"} or how != "full and in use"
]


def commands(of: Any = app, prefix: str = "") -> Iterator[str]:
    group = typer.main.get_command(of)
    for name, command in group.commands.items():  # type: ignore[attr-defined] # a group has them
        if hasattr(command, "commands"):
            yield from (f"{name} {inner}" for inner in command.commands)
        else:
            yield f"{prefix}{name}"


def test_every_command_is_in_one_of_the_tables() -> None:
    assert set(commands()) == WRITES.keys() | READS.keys() | ELSEWHERE


HASH = "$2b$04$EpZ3wPzIkHlRzdFzdYUeGuVoSqZrUBXSNNbvO7qQ0BkGhWmTdWNYa"


@pytest.fixture(scope="session")
def settled(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with two people, two keys and a token, and what commands are given."""
    folder = tmp_path_factory.mktemp("settled")
    made = shutil.copytree(fresh, folder / "lalepass")
    (folder / "tls").mkdir()
    (folder / "ca").mkdir()
    people = folder / "people.jsonl"
    people.write_text(
        f'{{"localpart": "alice", "hash": "{HASH}"}}\n'
        '{"localpart": "gone", "state": "disabled"}\n'
    )
    for command in (
        ["user", "import", str(people)],
        ["keys", "add"],
        ["db", "backup", str(folder / "copy.db")],
        ["token", "create", "old", "--scope", "check", "--output", str(folder / "token")],
    ):
        assert run(["--config", str(made / "lalepass.toml"), *command]) == ExitCode.OK
    (folder / "users.jsonl").write_text('{"localpart": "carol"}\n')
    (folder / "words").write_text("".join(f"word-{n}\n" for n in range(1000)))
    return folder


class Site:
    """A copy of it on a small disk."""

    def __init__(self, small: Disk, settled: Path, operator: Operator) -> None:
        self.disk = small
        shutil.copytree(settled, small.path, dirs_exist_ok=True)
        self.operator = replace(operator, directory=small.path / "lalepass")
        keys = self.operator.directory / "keys"
        active = (keys / "active").read_text().strip()
        (self.second,) = {file.stem for file in keys.glob("*.key")} - {active}
        self.token = (small.path / "token").read_text().split("_")[1]
        with closing(sqlite3.connect(self.database)) as database:
            # so that there is something to unlock
            database.execute(
                "INSERT INTO lanes SELECT id, x'', 1, NULL, zeroblob(16), created_at FROM users"
            )
            database.commit()

    def words(self, command: str, arguments: tuple[str, ...]) -> list[str]:
        meant = {"SECOND": self.second, "TOKEN": self.token}
        filled = [meant.get(word, word.replace("DISK", str(self.disk.path))) for word in arguments]
        return [*command.split(), *filled]

    @property
    def database(self) -> Path:
        return self.operator.directory / "lalepass.db"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Have the database open, as a service that runs: what SQLite needs to read is there."""
        with closing(sqlite3.connect(self.database)) as opened:
            opened.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            yield

    def content(self) -> tuple[list[str], dict[str, bytes]]:
        """Return all that is in the database, and all files but those of SQLite."""
        with closing(sqlite3.connect(self.database)) as database:
            rows = list(database.iterdump())
        files = {
            str(file.relative_to(self.disk.path)): file.read_bytes()
            for file in self.disk.path.rglob("*")
            if file.is_file() and not file.name.startswith(self.database.name)
        }
        return rows, files


@pytest.fixture
def site(settled: Path, operator: Operator, tmp_path: Path) -> Iterator[Site]:
    with disk(tmp_path / "disk") as small:
        yield Site(small, settled, operator)


CLEAR = re.compile(
    r"^(the database \S+ can't be used: |\S+: |audit\.copy_path: |it is done, but ).*"
    r"(no space left|read-only|Read-only|No space|File too large|disk I/O error|disk is full"
    r"|unable to open|readonly)",
)
"""The file, and what is wrong with it."""


@pytest.mark.parametrize(("command", "how"), WAYS)
def test_what_would_write_says_why_it_can_not(
    site: Site, command: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LALEPASS_SERVER__PORT", str(free_port()))
    if command == "db migrate":
        # One that is up to date needs no room.
        site.database.unlink()
        site.database.touch()
    if command == "keys rewrap":
        site.operator("keys", "promote", site.second).done()
    before = site.content()

    with (
        site.in_use() if how == "full and in use" else nullcontext(),
        site.disk.read_only() if how == "read-only" else site.disk.full(),
    ):
        said = site.operator(*site.words(command, WRITES[command]), stdin=PASSWORD)

    assert said.code == ExitCode.OUTSIDE, said
    assert said.out == ""
    (*_, line) = said.err.splitlines()
    assert CLEAR.match(line.removeprefix("lalepass: ")), line
    assert site.content() == before
    if how == "full" and command != "serve":
        # With room again it is done.
        site.operator(*site.words(command, WRITES[command]), stdin=PASSWORD).done()


@pytest.mark.parametrize("how", ["full", "read-only"])
@pytest.mark.parametrize("command", READS)
def test_what_only_reads_does_or_says_why_it_can_not(site: Site, command: str, how: str) -> None:
    before = site.content()
    with site.disk.full() if how == "full" else site.disk.read_only():
        said = site.operator(*site.words(command, READS[command]))

    if said.code != ExitCode.OK:
        assert CLEAR.match(said.refused(ExitCode.OUTSIDE)), said
    assert site.content() == before
