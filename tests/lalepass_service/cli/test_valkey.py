"""Commands on an installation that counts in Valkey."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import PASSWORD, Operator
from tests.servers.fixtures import left_out_if_missing
from tests.servers.valkey import Valkey, valkey


@pytest.fixture
def server() -> Iterator[Valkey]:
    with left_out_if_missing(), valkey() as server:
        yield server


@pytest.fixture
def counting(operator: Operator, server: Valkey, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setenv("LALEPASS_VALKEY__URL", server.url)
    monkeypatch.setenv("LALEPASS_VALKEY__TIMEOUT", "5")
    operator.add("alice")
    return operator


def test_an_account_is_as_it_is_in_valkey(counting: Operator) -> None:
    assert counting("user", "show", "alice", "--json").document["wrong_passwords"] == 0
    assert "was not locked" in counting("user", "unlock", "alice").done()


def test_without_valkey_a_command_says_so_or_does_without(
    counting: Operator, server: Valkey
) -> None:
    server.kill()

    assert counting("user", "unlock", "alice").done() == "user alice is unlocked\n"
    shown = counting("user", "show", "alice", "--json")
    assert shown.document["wrong_passwords"] is None
    assert "Valkey gives no answer" in shown.err
    counting("user", "set-password", "alice", "--password-stdin", stdin=PASSWORD + "!").done()
    counting("user", "delete", "alice", "--yes").done()


def test_what_is_wrong_with_it_is_said_before_anything_is_asked(
    counting: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting("config", "check").done()
    monkeypatch.setenv("LALEPASS_VALKEY__PASSWORD_PATH", "/nowhere/password")

    commands = ("config", "check"), ("user", "unlock", "alice"), ("serve",), ("db", "restored")
    for command in (*commands, ("db", "restore", "--yes", "-")):
        said = counting(*command).refused(ExitCode.CONFIG)
        assert said.startswith("valkey.password_path: /nowhere/password: No such file")


LANE = "lalepass:1:u:{somebody}"


def test_an_older_database_has_all_counted_anew(
    counting: Operator, server: Valkey, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    counting("db", "backup", str(copy)).done()
    for command in (("restore", str(copy), "--yes"), ("restored",)):
        server.ask("HSET", LANE, "e", "of a later password")

        counting("db", *command).done()

        assert server.ask("EXISTS", LANE) == 0


def test_an_older_database_says_what_is_left_to_do_without_valkey(
    counting: Operator, server: Valkey, tmp_path: Path
) -> None:
    database, copy = counting.directory / "lalepass.db", tmp_path / "copy.db"
    counting("db", "backup", str(copy)).done()
    counting.add("bob")
    server.kill()

    for command in (("restore", str(copy), "--yes"), ("restored",)):
        assert counting("db", *command).refused(ExitCode.OUTSIDE) == (
            f"{database} is ready, but Valkey counts for a later state of it, and Valkey gives no "
            "answer: it can't be reached: when it answers, say `lalepass db restored`"
        )
        assert counting("user", "show", "bob").code == ExitCode.REFUSED
    server.start()
    server.ask("HSET", LANE, "e", "of a later password")

    said = counting("db", "restored").done()

    assert (
        said == f"homeservers will read {database} again from the start, and Valkey counts anew\n"
    )
    assert server.ask("EXISTS", LANE) == 0
