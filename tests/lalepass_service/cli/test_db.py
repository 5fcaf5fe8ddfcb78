import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import Operator


def test_the_state_is_for_people_and_programs(operator: Operator) -> None:
    database = operator.directory / "lalepass.db"

    assert operator("db", "status").done() == f"{database}: current\n"
    assert operator("db", "status", "--json").document == {
        "path": str(database),
        "state": "current",
    }


def test_what_is_up_to_date_stays_so(operator: Operator) -> None:
    assert "was up to date already" in operator("db", "migrate").done()


def test_a_database_that_is_not_there_is_made_by_one_command_only(operator: Operator) -> None:
    database = operator.directory / "lalepass.db"
    database.unlink()

    for command in (["user", "list"], ["user", "add", "alice"], ["token", "list"]):
        said = operator(*command)
        assert said.refused(ExitCode.OUTSIDE) == (
            f"{database} has no tables yet: run `lalepass db migrate` for a new installation, "
            "or mend [database] if there should be accounts"
        )
        assert not database.exists()
    assert operator("db", "status", "--json").document["state"] == "empty"
    assert "is up to date now" in operator("db", "migrate").done()
    operator("user", "list").done()


def test_a_file_that_is_no_database_is_named(operator: Operator) -> None:
    database = operator.directory / "lalepass.db"
    database.write_text("no database " * 100)

    for command in (["db", "status"], ["db", "migrate"], ["user", "list"]):
        sentence = operator(*command).refused(ExitCode.OUTSIDE)
        assert sentence == f"the database {database} can't be used: file is not a database"


def test_a_folder_that_is_not_there_is_named(operator: Operator) -> None:
    (operator.directory / "lalepass.toml").write_text('[database]\npath = "missing/users.db"')
    sentence = operator("db", "migrate").refused(ExitCode.OUTSIDE)

    assert sentence == f"there is no folder {operator.directory}/missing"


def test_a_restored_database_is_another_one_for_homeservers(operator: Operator) -> None:
    def database_id() -> str:
        with closing(sqlite3.connect(operator.directory / "lalepass.db")) as connection:
            query = "SELECT value FROM facts WHERE name = 'database_id'"
            return str(connection.execute(query).fetchone()[0])

    before = database_id()
    said = operator("db", "restored").done()

    assert said.startswith("homeservers will read ")
    assert database_id() != before
    (entry,) = operator("audit", "tail", "--limit", "1", "--json").document["entries"]
    assert entry["event"] == "database_restored"


def test_a_backup_is_brought_back(operator: Operator, tmp_path: Path) -> None:
    database, copy = operator.directory / "lalepass.db", tmp_path / "copy.db"
    operator.add("alice")

    said = operator("db", "backup", str(copy)).done()

    assert said == f"{copy} is a copy of {database}, {copy.stat().st_size} bytes\n"
    operator.add("bob")
    again = operator("db", "backup", str(copy))
    assert again.refused(ExitCode.OUTSIDE) == (
        f"{copy} is there already: choose another name, or remove it first"
    )
    assert operator("db", "restore", str(copy)).refused(ExitCode.USAGE) == (
        "there is no terminal to ask on: use --yes"
    )
    operator("user", "show", "bob").done()

    operator("db", "restore", str(copy), "--yes").done()

    operator("user", "show", "alice").done()
    assert operator("user", "show", "bob").code == ExitCode.REFUSED


def test_a_backup_comes_in_the_place_of_what_can_not_be_opened(
    operator: Operator, tmp_path: Path
) -> None:
    database, copy = operator.directory / "lalepass.db", tmp_path / "copy.db"
    operator.add("alice")
    operator("db", "backup", str(copy)).done()
    database.write_bytes(bytes(100) + database.read_bytes()[100:])
    assert "file is not a database" in operator("user", "list").refused(ExitCode.OUTSIDE)

    said = operator("db", "restore", str(copy), "--yes")

    assert said.code == ExitCode.OK
    assert f"What was there is damaged, and is {database}.damaged now." in said.err
    operator("user", "show", "alice").done()


def test_what_is_no_backup_is_named(operator: Operator, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.db"

    said = operator("db", "restore", str(nothing), "--yes").refused(ExitCode.OUTSIDE)

    assert said == f"there is no file {nothing}"


def test_a_backup_goes_through_a_pipe(operator: Operator) -> None:
    operator.add("alice")
    config = str(operator.directory / "lalepass.toml")
    command = [sys.executable, "-m", "lalepass_service", "--config", config, "db"]

    copied = subprocess.run([*command, "backup", "-"], capture_output=True, check=True, timeout=60)
    operator.add("bob")
    subprocess.run([*command, "restore", "--yes", "-"], input=copied.stdout, check=True, timeout=60)

    operator("user", "show", "alice").done()
    assert operator("user", "show", "bob").code == ExitCode.REFUSED
    assert not list(operator.directory.glob(".*"))


@pytest.mark.parametrize("given", [b"", b"no database"])
def test_what_comes_through_a_pipe_is_looked_at_first(operator: Operator, given: bytes) -> None:
    operator.add("alice")

    said = operator("db", "restore", "--yes", "-", stdin=given)

    assert said.code == ExitCode.OUTSIDE
    operator("user", "show", "alice").done()
    assert not list(operator.directory.glob(".*"))
