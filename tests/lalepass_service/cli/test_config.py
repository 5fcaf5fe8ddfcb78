from pathlib import Path

import pytest

from lalepass_service.adapters.hashing import choice, choose
from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import PASSWORD, Operator
from tests.servers.postgres import Database
from tools.processes import free_port


def test_a_right_configuration_is_said_to_be_right(operator: Operator) -> None:
    said = operator("config", "check").done()

    assert said.splitlines() == [
        f"{operator.directory}/lalepass.toml: all options are right",
        f"the database is {operator.directory}/lalepass.db",
        f"the keys are in {operator.directory}/keys",
        f"hashes are made by {choose('auto', memory_kib=19456).name}",
    ]


def test_a_database_that_is_not_there_is_a_warning_since_it_may_come_yet(
    operator: Operator,
) -> None:
    database = operator.directory / "lalepass.db"
    assert operator("config", "check").err == ""
    database.unlink()

    said = operator("config", "check")

    assert "all options are right" in said.done()
    assert said.err == (
        f"lalepass: warning: {database} has no tables yet: run `lalepass db migrate` for a new "
        "installation, or mend [database] if there should be accounts\n"
    )
    assert not database.exists()


@pytest.mark.parametrize("command", [["config", "check"], ["serve"]])
def test_certificates_are_looked_at(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    missing = tmp_path / "server.crt"
    monkeypatch.setenv("LALEPASS_SERVER__TLS_CERTIFICATE", str(missing))
    monkeypatch.setenv("LALEPASS_SERVER__TLS_KEY", str(tmp_path / "server.key"))

    assert operator(*command).refused(ExitCode.CONFIG) == (
        f"server.tls_certificate: {missing} can't be read: No such file or directory"
    )


def test_passwords_that_would_travel_in_the_open_are_a_warning(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for host, warned in (("localhost", False), ("::1", False), ("0.0.0.0", True)):
        monkeypatch.setenv("LALEPASS_SERVER__HOST", host)
        said = operator("config", "check")
        said.done()
        assert ("server.host: tokens and passwords travel unencrypted" in said.err) is warned

    folders = ("--authority", str(tmp_path), "--directory", str(tmp_path))
    operator.bare("certificate", "server", *folders).done()
    monkeypatch.setenv("LALEPASS_SERVER__TLS_CERTIFICATE", str(tmp_path / "server.crt"))
    monkeypatch.setenv("LALEPASS_SERVER__TLS_KEY", str(tmp_path / "server.key"))
    said = operator("config", "check")
    said.done()
    assert said.err == ""


@pytest.mark.parametrize(
    "command", [["config", "check"], ["serve"], ["user", "add", "alice", "--password-stdin"]]
)
def test_what_is_to_hash_and_is_not_there_is_named_with_its_option(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("LALEPASS_HASHING__BINDING", "avx512")
    monkeypatch.setattr(choice, "LIBRARY", operator.directory / "none.so")
    monkeypatch.setenv("LALEPASS_SERVER__PORT", str(free_port()))

    assert operator(*command, stdin=PASSWORD).refused(ExitCode.CONFIG) == (
        f"hashing.binding: avx512: there is no {operator.directory}/none.so"
    )


def test_standbys_are_named_and_need_not_answer(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, postgres_database: Database
) -> None:
    nowhere = f"postgresql://lalepass@127.0.0.1:{free_port()}/lalepass"
    monkeypatch.setenv("LALEPASS_DATABASE__URL", postgres_database.url)
    monkeypatch.setenv(
        "LALEPASS_DATABASE__PASSWORD_PATH", str(postgres_database.server.password_path)
    )
    monkeypatch.setenv("LALEPASS_DATABASE__REPLICA_URL", nowhere)
    said = operator("config", "check").done()
    assert f"\nchecks may be read from {nowhere}\n" in said

    monkeypatch.setenv("LALEPASS_DATABASE__REPLICA_URL", f"{nowhere}?sslmoed=require")
    for command in (["config", "check"], ["serve"]):
        refusal = operator(*command).refused(ExitCode.CONFIG)
        assert refusal.startswith("LALEPASS_DATABASE__REPLICA_URL: should be an address")


def test_it_is_said_that_an_old_primary_can_not_be_told(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, postgres_database: Database
) -> None:
    monkeypatch.setenv("LALEPASS_DATABASE__URL", postgres_database.url)
    monkeypatch.setenv(
        "LALEPASS_DATABASE__PASSWORD_PATH", str(postgres_database.server.password_path)
    )
    assert "timeline" not in operator("config", "check").done()

    postgres_database.server.sql(
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
        database=postgres_database.name,
    )
    assert "does not tell its timeline" in operator("config", "check").done()


@pytest.mark.parametrize("command", [["config", "check"], ["serve"], ["user", "list"]])
def test_a_wrong_one_stops_every_command(operator: Operator, command: list[str]) -> None:
    (operator.directory / "lalepass.toml").write_text("[server]\nport = 0")

    assert operator(*command).refused(ExitCode.CONFIG) == (
        f"{operator.directory}/lalepass.toml: server.port: should be a number from 1 to 65535"
    )


def test_a_missing_one_is_named(operator: Operator) -> None:
    said = operator.bare("--config", "/nowhere/lalepass.toml", "config", "check")

    assert said.refused(ExitCode.CONFIG) == (
        "/nowhere/lalepass.toml: can't be read: No such file or directory"
    )


def test_none_at_all_is_said_to_be_none(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert (
        operator.bare("user", "list")
        .refused(ExitCode.CONFIG)
        .startswith("there is no configuration")
    )


def test_a_configuration_may_be_named_by_the_environment(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LALEPASS_CONFIG", str(operator.directory / "lalepass.toml"))

    operator.bare("config", "check").done()
