"""What an operator changes stands in the trail, with their name, and in its copy."""

import asyncio
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from lalepass_service import parts
from lalepass_service.adapters.sql.softlocks import SqlSoftLocks
from lalepass_service.cli.console import ExitCode
from lalepass_service.config import load
from tests.lalepass_service.accounts import NOW
from tests.lalepass_service.adapters.sql.faults import no_file_grows
from tests.lalepass_service.cli.operator import PASSWORD, Operator
from tests.lalepass_service.paying import debit

NEW_PASSWORD = "battery staple horse"
HASH = "$2b$04$EpZ3wPzIkHlRzdFzdYUeGuVoSqZrUBXSNNbvO7qQ0BkGhWmTdWNYa"
NOBODYS = {"source_ip": None, "user_agent": None, "request_id": None}
ME = f"operator:{pwd.getpwuid(os.geteuid()).pw_name}"


def copied(operator: Operator) -> Path:
    """Have the trail copied."""
    return copied_to(operator, "trail.jsonl")


def copied_to(operator: Operator, path: str) -> Path:
    config = operator.directory / "lalepass.toml"
    text = config.read_text()
    assert '#copy_path = ""' in text
    config.write_text(text.replace('#copy_path = ""', f'copy_path = "{path}"'))
    return operator.directory / path


def entries(operator: Operator, *options: str) -> list[dict[str, Any]]:
    exported = operator("audit", "export", *options).done()
    return [json.loads(line) for line in exported.splitlines()]


def newest(operator: Operator) -> tuple[str, str | None, dict[str, Any]]:
    """Return event, name and details of the newest entry, once the rest is as it has to be."""
    entry = entries(operator)[-1]
    assert (entry["actor"], entry["outcome"]) == (ME, "done")
    assert {name: entry[name] for name in NOBODYS} == NOBODYS
    assert (entry["user_id"] is None) == (entry["localpart"] is None)
    return entry["event"], entry["localpart"], entry["details"]


GIVEN: Final = {"password": "given", "admin": False, "state": "active", "reused_name": False}

ON_ACCOUNTS: Final[list[tuple[tuple[str, ...], str, dict[str, Any]]]] = [
    (("user", "add", "bob", "--password-stdin"), "user_added", GIVEN),
    (
        ("user", "add", "bob", "--no-password", "--admin"),
        "user_added",
        GIVEN | {"password": "none", "admin": True},
    ),
    (
        ("user", "set-password", "alice", "--password-stdin"),
        "password_set",
        {"password": "given", "must_change": False, "sign_out": True},
    ),
    (
        ("user", "set-password", "alice", "--password-stdin", "--keep-sessions"),
        "password_set",
        {"password": "given", "must_change": False, "sign_out": False},
    ),
    (
        ("user", "set-password", "alice", "--password-stdin", "--must-change"),
        "password_set",
        {"password": "given", "must_change": True, "sign_out": True},
    ),
    (
        ("user", "edit", "alice", "--display-name", "Alice Secret", "--admin"),
        "user_edited",
        {"changed": "display_name admin"},
    ),
    (("user", "sign-out", "alice"), "user_signed_out", {}),
    (("user", "disable", "alice"), "user_disabled", {}),
    (("user", "enable", "gone"), "user_enabled", {}),
    (("user", "delete", "alice", "--yes"), "user_deleted", {}),
]


@pytest.mark.parametrize(("command", "event", "details"), ON_ACCOUNTS, ids=str)
def test_what_is_done_to_accounts(
    operator: Operator, command: tuple[str, ...], event: str, details: dict[str, Any]
) -> None:
    copy = copied(operator)
    operator.add("alice")
    operator.add("gone")
    operator("user", "disable", "gone").done()
    before = entries(operator)

    operator(*command, stdin=NEW_PASSWORD).done()

    assert newest(operator) == (event, command[2], details)
    assert len(entries(operator)) == len(before) + 1
    assert "Secret" not in copy.read_text()
    assert copy.read_text() == operator("audit", "export").done()


def test_a_temporary_password_is_noted_with_its_end(operator: Operator) -> None:
    operator.add("alice")
    operator("user", "set-password", "alice", "--temporary", "--password-stdin", stdin=NEW_PASSWORD)

    event, _, details = newest(operator)

    assert event == "password_set"
    assert details.keys() == {"password", "must_change", "sign_out", "expires_at"}


def hold_up(operator: Operator, name: str) -> None:
    """Guess wrong."""
    user_id = operator("user", "show", name, "--json").document["id"]

    async def guess() -> None:
        async with parts.open_hot(load(operator.directory / "lalepass.toml")) as hot:
            await debit(SqlSoftLocks(hot), user_id, source=b"", guess=b"g" * 16, now=NOW)

    asyncio.run(guess())


def test_who_was_held_up_and_is_let_in_again(operator: Operator) -> None:
    operator.add("alice")
    operator("user", "unlock", "alice").done()
    assert newest(operator)[0] == "user_added"

    hold_up(operator, "alice")
    operator("user", "unlock", "alice").done()

    assert newest(operator) == ("user_unlocked", "alice", {})


def test_who_is_brought_along(operator: Operator, tmp_path: Path) -> None:
    copy = copied(operator)
    file = tmp_path / "users.jsonl"
    file.write_text(
        f'{{"localpart": "alice", "hash": "{HASH}"}}\n{{"localpart": "Bad"}}\n'
        '{"localpart": "bob", "state": "disabled"}\n'
    )
    operator("user", "import", str(file))
    operator("user", "import", str(file))

    found = entries(operator)
    assert [(entry["event"], entry["localpart"]) for entry in found] == [
        ("user_imported", "alice"),
        ("user_imported", "bob"),
    ]
    assert found[0]["details"]["password"] == "hash of another program"
    assert found[1]["details"]["state"] == "disabled"
    assert copy.read_text() == operator("audit", "export").done()


def test_tokens_by_their_ids_and_never_their_secrets(operator: Operator) -> None:
    token = operator("token", "create", "synapse", "--scope", "feed", "--scope", "check").done()
    _, token_id, secret = token.strip().split("_", 2)
    assert newest(operator) == (
        "token_created",
        None,
        {"token_id": token_id, "name": "synapse", "scopes": "check feed"},
    )

    operator("token", "revoke", token_id).done()
    operator("token", "revoke", token_id).done()

    assert newest(operator) == ("token_revoked", None, {"token_id": token_id})
    assert len(entries(operator)) == 2
    assert secret not in operator("audit", "export").done()


def test_keys_by_their_ids(operator: Operator) -> None:
    copy = copied(operator)
    old = operator("keys", "status", "--json").document["active"]
    operator.add("alice")
    new = operator("keys", "add").done().strip()
    assert newest(operator) == ("key_added", None, {"key_id": new, "active": False})
    operator("keys", "promote", new).done()
    assert newest(operator) == ("key_promoted", None, {"key_id": new})
    operator("keys", "rewrap").done()
    assert newest(operator) == ("keys_rewrapped", None, {"key_id": new, "moved": 1})
    operator("keys", "rewrap").done()
    operator("keys", "retire", old, "--yes").done()

    assert newest(operator) == ("key_retired", None, {"key_id": old})
    events = [entry["event"] for entry in entries(operator)]
    assert events[-3:] == ["keys_rewrap_begun", "keys_rewrapped", "key_retired"]
    begun = entries(operator)[-3]
    assert begun["details"] == {"key_id": new, "pending": 1}
    assert events.count("keys_rewrap_begun") == events.count("keys_rewrapped") == 1
    assert copy.read_text() == operator("audit", "export").done()


def test_that_a_backup_was_restored(operator: Operator) -> None:
    copy = copied(operator)
    operator("db", "restored").done()

    assert newest(operator) == ("database_restored", None, {})
    assert copy.read_text() == operator("audit", "export").done()


def test_what_is_refused_leaves_no_entry(operator: Operator) -> None:
    operator.add("alice")
    before = entries(operator)
    for command in (
        ("user", "add", "alice", "--no-password"),
        ("user", "add", "bob", "--password-stdin"),
        ("user", "disable", "nobody"),
        ("user", "delete", "nobody", "--yes"),
        ("token", "revoke", "0" * 12),
        ("keys", "promote", "zzzz"),
    ):
        assert operator(*command, stdin="short").code == ExitCode.REFUSED

    assert entries(operator) == before


def test_no_password_and_no_hash_gets_there(operator: Operator) -> None:
    copy = copied(operator)
    operator.add("alice")
    operator("user", "set-password", "alice", "--hash-stdin", stdin=HASH).done()

    text = operator("audit", "export").done() + copy.read_text()
    assert PASSWORD not in text
    assert HASH not in text
    assert "$2b$" not in text


def test_an_act_that_is_not_copied_is_done_all_the_same(operator: Operator) -> None:
    copy = copied(operator)
    operator.add("alice")
    # It is larger than a file may become, and the database is not. Hardly any of it is on the disk.
    os.truncate(copy, 2**30)
    with no_file_grows(room=2**29):
        said = operator("user", "disable", "alice")

    assert said.code == ExitCode.OK
    assert said.err == (
        "lalepass: warning: it is in the trail, but could not be copied: File too large\n"
    )
    assert newest(operator)[0] == "user_disabled"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.parent.rmdir(), "is no folder"),
        (lambda path: path.mkdir(), "it is no regular file"),
        (lambda path: path.symlink_to("elsewhere"), "it is no regular file"),
        (os.mkfifo, "it is no regular file"),
    ],
    ids=["no folder", "a folder", "a link", "a pipe"],
)
def test_where_no_copy_can_be_written_nothing_is_begun(
    operator: Operator, make: Callable[[Path], None], why: str
) -> None:
    path = copied_to(operator, "logs/trail.jsonl")
    path.parent.mkdir()
    operator.add("alice")
    path.unlink()
    make(path)
    before = entries(operator)

    for command in (
        ("serve",),
        ("config", "check"),
        ("user", "disable", "alice"),
        ("user", "add", "bob"),
        ("token", "create", "synapse", "--scope", "check"),
        ("keys", "add"),
    ):
        said = operator(*command).refused(ExitCode.CONFIG)
        assert said.startswith(f"audit.copy_path: {path}: ")
        assert said.endswith(why)
    assert entries(operator) == before


def test_a_change_that_can_not_be_noted_is_not_made(operator: Operator) -> None:
    operator.add("alice")
    before = entries(operator)

    with no_file_grows():
        said = operator("user", "disable", "alice").refused(ExitCode.OUTSIDE)

    assert "the database" in said
    assert operator("user", "show", "alice", "--json").document["state"] == "active"
    assert entries(operator) == before
