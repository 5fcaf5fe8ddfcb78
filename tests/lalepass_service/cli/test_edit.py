"""What homeservers follow, from the command line to the feed."""

import sqlite3
from contextlib import closing

import pytest

from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import PASSWORD, Operator


def _names(operator: Operator, table: str) -> list[str]:
    """Return the names in one of the tables that followers read, in their order."""
    with closing(sqlite3.connect(operator.directory / "lalepass.db")) as connection:
        query = f"SELECT localpart FROM {table} ORDER BY seq"  # noqa: S608 - of our own
        return [name for (name,) in connection.execute(query)]


def test_what_is_known_of_a_person_is_changed(operator: Operator) -> None:
    operator.add("alice", "--email", "old@x", "--display-name", "Alice", "--admin")

    said = operator(
        *("user", "edit", "alice", "--display-name", "Al", "--no-admin"),
        *("--add-email", "New@X", "--remove-email", "old@x"),
        *("--add-phone", "+49 170 1234567"),
    ).done()

    assert said == "user alice is changed\n"
    user = operator("user", "show", "alice", "--json").document
    assert (user["display_name"], user["admin"]) == ("Al", False)
    assert (user["emails"], user["phones"]) == (["new@x"], ["491701234567"])
    assert _names(operator, "changes") == ["alice"]
    (entry,) = operator("audit", "tail", "--user", "alice", "--limit", "1", "--json").document[
        "entries"
    ]
    assert entry["event"] == "user_edited"
    assert entry["details"]["changed"] == "display_name add_emails remove_emails add_phones admin"


def test_no_change_is_said_to_be_none(operator: Operator) -> None:
    operator.add("alice", "--display-name", "Alice")

    said = operator("user", "edit", "alice", "--display-name", "Alice", "--no-admin").done()

    assert said == "user alice was so already\n"
    assert _names(operator, "changes") == []


def test_a_display_name_is_taken_away(operator: Operator) -> None:
    operator.add("alice", "--display-name", "Alice")
    operator("user", "edit", "alice", "--no-display-name").done()

    assert operator("user", "show", "alice", "--json").document["display_name"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), ExitCode.USAGE, "say what to change"),
        (("--display-name", " "), ExitCode.USAGE, "use --no-display-name"),
        (("--display-name", "A", "--no-display-name"), ExitCode.USAGE, "exclude each other"),
        (("--remove-email", "b@x"), ExitCode.REFUSED, "does not have b@x"),
        (("--add-email", "bob@x"), ExitCode.REFUSED, "another account has this e-mail address"),
        (("--add-email", "b"), ExitCode.REFUSED, "an e-mail address looks like"),
    ],
    ids=str,
)
def test_what_can_not_be_is_refused(
    operator: Operator, arguments: tuple[str, ...], code: ExitCode, sentence: str
) -> None:
    operator.add("alice")
    operator.add("bob", "--email", "bob@x")

    assert sentence in operator("user", "edit", "alice", *arguments).refused(code)
    assert _names(operator, "changes") == []


@pytest.mark.parametrize("command", [("edit", "nobody", "--admin"), ("sign-out", "nobody")])
def test_nobody_is_not_found(operator: Operator, command: tuple[str, ...]) -> None:
    said = operator("user", *command).refused(ExitCode.REFUSED)

    assert said == "there is no user nobody"


def test_signing_out_is_an_order_and_an_act(operator: Operator) -> None:
    operator.add("alice")

    said = operator("user", "sign-out", "alice").done()

    assert said.startswith("the sessions of user alice end")
    assert _names(operator, "sign_outs") == _names(operator, "changes") == ["alice"]
    (entry,) = operator("audit", "tail", "--limit", "1", "--json").document["entries"]
    assert entry["event"] == "user_signed_out"


def test_a_new_password_ends_sessions_unless_they_are_to_be_kept(operator: Operator) -> None:
    for name, *options in (("alice",), ("bob", "--keep-sessions")):
        operator.add(name)
        operator(
            *("user", "set-password", name, "--password-stdin", *options), stdin=PASSWORD + "!"
        ).done()

    assert _names(operator, "sign_outs") == ["alice"]


def test_a_deleted_account_stays_locked_and_signed_out(operator: Operator) -> None:
    operator.add("alice")
    operator("user", "delete", "alice", "--yes").done()

    assert _names(operator, "sign_outs") == _names(operator, "changes") == ["alice"]


def test_sign_ins_are_shown(operator: Operator) -> None:
    operator.add("alice")
    user_id = operator("user", "show", "alice", "--json").document["id"]
    with closing(sqlite3.connect(operator.directory / "lalepass.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO sign_ins (user_id, caller, device_id, signed_in_at, signed_out_at, ip,"
            " user_agent, reported_at) VALUES (?, 'hs', ?, ?, ?, ?, 'Element', '')",
            [
                (user_id, "PHONE", "2026-01-02T03:00:00.000000+00:00", None, "192.0.2.7"),
                (user_id, None, None, "2026-01-01T03:00:00.000000+00:00", None),
            ],
        )

    said = operator("user", "show", "alice").done()
    document = operator("user", "show", "alice", "--json").document

    assert "2026-01-02T03:00:00Z PHONE on hs from 192.0.2.7" in said
    assert "? no device on hs until 2026-01-01T03:00:00Z" in said
    assert document["sign_ins"][0] == {
        "caller": "hs",
        "device_id": "PHONE",
        "signed_in_at": "2026-01-02T03:00:00Z",
        "signed_out_at": None,
        "ip": "192.0.2.7",
        "user_agent": "Element",
    }
