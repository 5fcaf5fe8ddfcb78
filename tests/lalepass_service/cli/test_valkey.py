"""Commands on an installation that counts in Valkey."""

from collections.abc import Iterator

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

    said = counting("user", "unlock", "alice").refused(ExitCode.OUTSIDE)
    assert said == "Valkey gives no answer: it can't be reached"
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

    for command in (("config", "check"), ("user", "unlock", "alice"), ("serve",)):
        said = counting(*command).refused(ExitCode.CONFIG)
        assert said.startswith("valkey.password_path: /nowhere/password: No such file")
