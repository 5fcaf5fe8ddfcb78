"""`lalepass keys ...`, on an installation that `lalepass init` has made."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from lalepass_service.cli.console import ExitCode
from lalepass_wire import paths
from tests.lalepass_service.cli.operator import PASSWORD, Operator
from tools.processes import free_port
from tools.service import Service


def _status(operator: Operator) -> Any:
    return operator("keys", "status", "--json").document


def _active(operator: Operator) -> str:
    return str(_status(operator)["active"])


def _without_keys(operator: Operator) -> None:
    """Make it an installation from before there were keys."""
    config = operator.directory / "lalepass.toml"
    config.write_text(config.read_text().replace('directory = "keys"', ""))


def _stored(directory: Path) -> list[tuple[str, str | None]]:
    with closing(sqlite3.connect(directory / "lalepass.db")) as connection:
        return connection.execute("SELECT phc, key_id FROM passwords").fetchall()


def _serving(operator: Operator) -> tuple[int, list[str]]:
    """Start a service that ends by itself, and return what it said."""
    service = Service(directory=operator.directory, port=free_port())
    with service.process() as process:
        code = process.wait()
    return code, service.log.read_text().splitlines()


def test_a_new_installation_wraps_from_the_start(operator: Operator) -> None:
    operator.add("alice")
    active = _active(operator)

    ((stored, key_id),) = _stored(operator.directory)
    assert stored.startswith(f"$lpw$v=1,k={active}$")
    assert key_id == active
    assert _status(operator) == {
        "directory": f"{operator.directory}/keys",
        "active": active,
        "keys": [{"id": active, "records": 1}],
        "missing": [],
        "retired": [],
        "unwrapped": 0,
    }


def test_a_key_is_added_promoted_and_retired(operator: Operator) -> None:
    operator.add("alice")
    old = _active(operator)
    new = operator("keys", "add").done().strip()
    assert _active(operator) == old
    assert operator("keys", "promote", new).done() == f"the key {new} is active\n"
    operator.add("bob")
    lines = operator("keys", "status").done().splitlines()
    assert [line.split() for line in lines] == [
        ["KEY", "STATE", "RECORDS"],
        *sorted([[old, "1"], [new, "active", "1"]]),
    ]

    assert operator("keys", "retire", old, "--yes").refused(ExitCode.REFUSED) == (
        f"records that need the key {old}: 1; "
        "run `lalepass keys rewrap` first, with another key active"
    )
    said = operator("keys", "rewrap")
    assert said.done() == f"records moved to the key {new}: 1\n"
    assert said.err == "1 of 1\n"
    assert operator("keys", "rewrap").done() == f"records moved to the key {new}: 0\n"
    assert operator("keys", "retire", old, "--yes").done() == f"the key {old} is removed\n"
    assert _status(operator)["keys"] == [{"id": new, "records": 2}]


def test_a_key_that_was_retired_on_another_machine_is_shown_and_stores_nothing(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    """This folder is as it was before the rotation, which was done with a folder of another."""
    operator.add("alice")
    keys, others = operator.directory / "keys", operator.directory / "before"
    old = _active(operator)
    new = operator("keys", "add").done().strip()
    shutil.copytree(keys, others)
    operator("keys", "promote", new).done()
    operator("keys", "rewrap").done()
    said = operator("keys", "retire", old, "--yes")
    said.done()
    assert "other machines" in said.err
    shutil.rmtree(keys)
    others.rename(keys)

    said = operator("keys", "status")
    assert [line.split() for line in said.done().splitlines()[1:]] == sorted(
        [[old, "active,", "RETIRED", "0"], [new, "1"]]
    )
    assert f"the key {old} is retired" in said.err
    document = _status(operator)
    assert (document["active"], document["retired"]) == (old, [old])
    said = operator("user", "add", "bob", "--password-stdin", stdin=PASSWORD)
    assert f"the key {old} is retired" in said.refused(ExitCode.OUTSIDE)
    assert operator("keys", "promote", old).refused(ExitCode.REFUSED) == (
        f"the key {old} is retired: make another one with `lalepass keys add`"
    )
    # What the service says at its start, too.
    operator("config", "check").done()
    assert f"the key {old} is retired" in caplog.text

    operator("keys", "promote", new).done()
    operator.add("bob")
    operator("keys", "retire", old, "--yes").done()
    assert _status(operator)["keys"] == [{"id": new, "records": 2}]


def test_the_active_key_stays(operator: Operator) -> None:
    active = _active(operator)

    assert operator("keys", "retire", active, "--yes").refused(ExitCode.REFUSED) == (
        f"the key {active} is the active one: promote another one first"
    )


@pytest.mark.parametrize("command", [["promote"], ["retire", "--yes"]])
@pytest.mark.parametrize("key_id", ["zzzz", "../keys", "ä"])
def test_a_key_that_is_not_there_is_named(
    operator: Operator, command: list[str], key_id: str
) -> None:
    said = operator("keys", *command, key_id)

    assert said.refused(ExitCode.REFUSED) == (
        f"there is no key {key_id} in {operator.directory}/keys"
    )


def test_without_a_terminal_a_key_is_removed_on_request_only(operator: Operator) -> None:
    key_id = operator("keys", "add").done().strip()

    assert "use --yes" in operator("keys", "retire", key_id).refused(ExitCode.USAGE)
    assert len(_status(operator)["keys"]) == 2


def test_an_older_installation_gets_keys(operator: Operator) -> None:
    (operator.directory / "keys").rename(operator.directory / "none")
    _without_keys(operator)
    operator.add("alice")
    assert _stored(operator.directory)[0][1] is None
    assert operator("keys", "add").refused(ExitCode.CONFIG).startswith("keys.directory is not set")
    assert "the keys are not set" in operator("config", "check").done()
    (operator.directory / "lalepass.toml").write_text('[keys]\ndirectory = "keys"\n')
    assert "can't be read" in operator("user", "add", "bob").refused(ExitCode.OUTSIDE)

    said = operator("keys", "add")
    key_id = said.done().strip()
    assert "it is active" in said.err
    status = operator("keys", "status")
    assert status.err == "records that are not wrapped: 1; lalepass keys rewrap\n"
    operator("keys", "rewrap").done()
    assert _stored(operator.directory)[0][1] == key_id


def test_wrapped_records_without_a_folder_for_keys_stop_everything(operator: Operator) -> None:
    operator.add("alice")
    active = _active(operator)
    _without_keys(operator)

    sentence = f"stored passwords need the key {active}, and keys.directory is not set"
    assert operator("config", "check").refused(ExitCode.CONFIG) == sentence
    assert _serving(operator) == (ExitCode.CONFIG, [f"lalepass: {sentence}"])


@pytest.fixture
def robbed(operator: Operator) -> str:
    """Remove the key of alice's record, which is not the active one, and return its id."""
    operator.add("alice")
    old = _active(operator)
    operator("keys", "promote", operator("keys", "add").done().strip()).done()
    operator.add("bob")
    (operator.directory / "keys" / f"{old}.key").unlink()
    return old


def test_a_missing_key_is_named_before_anything_is_served(operator: Operator, robbed: str) -> None:
    sentence = (
        f"the key {robbed} is missing in {operator.directory}/keys: put its file back; "
        "stored passwords that can't be read without it: 1"
    )

    assert operator("config", "check").refused(ExitCode.OUTSIDE) == sentence
    assert _serving(operator) == (ExitCode.OUTSIDE, [f"lalepass: {sentence}"])


def test_a_missing_key_is_seen_in_the_status(operator: Operator, robbed: str) -> None:
    document = _status(operator)

    assert document["missing"] == [{"id": robbed, "records": 1}]
    assert [robbed, "MISSING", "1"] in [
        line.split() for line in operator("keys", "status").done().splitlines()
    ]


def test_what_can_be_moved_is_moved_also_when_a_key_is_missing(
    operator: Operator, robbed: str
) -> None:
    bobs = _active(operator)
    operator("keys", "promote", operator("keys", "add").done().strip()).done()
    said = operator("keys", "rewrap")

    assert said.code == ExitCode.OUTSIDE
    assert said.out == f"records moved to the key {_active(operator)}: 1\n"
    assert said.err.splitlines()[-1] == (
        "lalepass: a stored password can't be read: records that no key in "
        f"{operator.directory}/keys opens, left as they are: 1"
    )
    operator("keys", "retire", bobs, "--yes").done()
    assert _status(operator)["missing"] == [{"id": robbed, "records": 1}]


def test_a_new_password_mends_an_account_whose_key_is_lost(operator: Operator, robbed: str) -> None:
    operator("user", "show", "alice").done()
    operator("user", "set-password", "alice", "--password-stdin", stdin=PASSWORD).done()

    assert robbed
    operator("config", "check").done()
    assert _status(operator)["missing"] == []


def test_keys_that_others_can_read_are_refused(operator: Operator) -> None:
    file = operator.directory / "keys" / f"{_active(operator)}.key"
    file.chmod(0o644)

    for command in (
        ["config", "check"],
        ["user", "add", "alice"],
        ["keys", "status"],
        ["keys", "rewrap"],
    ):
        said = operator(*command)
        assert said.code == ExitCode.OUTSIDE
        assert said.err.splitlines()[-1] == (
            f"lalepass: {file}: others can read or change it: run `chmod 600` on it"
        )


def test_a_rotation_beside_a_running_service(operator: Operator) -> None:
    """No login fails from the first command to the last, and none needs a restart."""
    names = ["alice", "bob"]
    for name in names:
        operator.add(name)
    token = operator("token", "create", "hs", "--scope", "check").done().strip()
    service = Service(directory=operator.directory, port=free_port())

    def everybody_logs_in() -> None:
        for name in names:
            answer = httpx.post(
                f"{service.address}{paths.CHECK_CREDENTIALS}",
                headers={"Authorization": f"Bearer {token}"},
                json={"identifier": {"kind": "user", "localpart": name}, "password": PASSWORD},
                timeout=30,
            )
            assert answer.json().get("result") == "accepted", answer.text

    with service.process() as process:
        process.wait_until_healthy()
        old = _active(operator)
        everybody_logs_in()
        new = operator("keys", "add").done().strip()
        everybody_logs_in()
        operator("keys", "promote", new).done()
        operator.add("carol")
        names.append("carol")
        everybody_logs_in()
        operator("keys", "retire", old, "--yes").refused(ExitCode.REFUSED)
        operator("keys", "rewrap").done()
        everybody_logs_in()
        operator("keys", "retire", old, "--yes").done()
        everybody_logs_in()

    assert {key_id for _, key_id in _stored(operator.directory)} == {new}
    assert [path.name for path in (operator.directory / "keys").glob("*.key")] == [f"{new}.key"]
    assert "error" not in service.log.read_text()
