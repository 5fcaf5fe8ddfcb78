import pytest

from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import PASSWORD, Operator

_KEYS = [
    "id",
    "localpart",
    "display_name",
    "emails",
    "phones",
    "state",
    "admin",
    "created_at",
    "password_changed_at",
    "password_must_change",
    "password_expires_at",
    "password_scheme",
    "unlocked_at",
]


def test_an_account_is_shown_as_it_was_made(operator: Operator) -> None:
    operator.add(
        "alice",
        *("--display-name", "Alice Müller"),
        *("--email", "Alice@Example.org", "--email", "a@example.net"),
        *("--phone", "+49 170 1234567"),
        "--admin",
    )
    user = operator("user", "show", "alice", "--json").document

    assert list(user) == [*_KEYS, "wrong_passwords", "sign_ins"]
    assert user["localpart"] == "alice"
    assert user["display_name"] == "Alice Müller"
    assert user["emails"] == ["alice@example.org", "a@example.net"]
    assert user["phones"] == ["491701234567"]
    assert user["admin"] is True
    assert user["state"] == "active"
    assert user["created_at"].endswith("Z")
    assert user["password_changed_at"] == user["created_at"]
    assert user["password_scheme"] == "argon2id,m=19456,t=2,p=1"


def test_people_see_the_same_as_programs(operator: Operator) -> None:
    operator.add("alice", "--email", "alice@example.org")
    shown = operator("user", "show", "alice").done()

    assert [line.split()[0] for line in shown.splitlines()] == [
        *_KEYS,
        "wrong_passwords",
        "sign_ins",
    ]
    assert "alice@example.org" in shown


def test_an_account_may_begin_without_a_password(operator: Operator) -> None:
    said = operator("user", "add", "alice", "--no-password").done()

    assert "without a password" in said
    assert operator("user", "show", "alice", "--json").document["password_changed_at"] is None


def test_a_password_comes_from_one_place(operator: Operator) -> None:
    said = operator("user", "add", "alice", "--no-password", "--password-stdin")

    assert "exclude each other" in said.refused(ExitCode.USAGE)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("@alice:example.org", "is a Matrix ID: give the user name alone, alice"),
        ("@Alice:example.org", "is a Matrix ID: give the user name alone, alice"),
        ("Alice", "user names are lower case: did you mean alice?"),
        ("alice smith", "a user name is made of a-z"),
        # Nothing is proposed that would be refused, too.
        ("Bob Smith", "a user name is made of a-z"),
        ("@Bob Smith:example.org", "a user name is made of a-z"),
        ("@:example.org", "a user name is made of a-z"),
        ("alice:example.org", "a user name is made of a-z"),
        ("", "a user name is made of a-z"),
        ("a" * 253, "a user name is made of a-z"),
        ("ali\x1b[31mce", "a user name is made of a-z"),
        ("ali\udcffce", "a user name is made of a-z"),
    ],
)
@pytest.mark.parametrize("command", ["add", "show", "set-password", "disable", "delete"])
def test_what_is_no_user_name_is_explained(
    operator: Operator, command: str, name: str, sentence: str
) -> None:
    assert sentence in operator("user", command, name).refused(ExitCode.REFUSED)


@pytest.mark.parametrize(
    "command",
    [["show"], ["disable"], ["enable"], ["delete", "--yes"], ["set-password", "--password-stdin"]],
    ids=lambda command: command[0],
)
def test_who_is_not_there_is_not_there(operator: Operator, command: list[str]) -> None:
    said = operator("user", *command, "nobody", stdin=PASSWORD)

    assert said.refused(ExitCode.REFUSED) == "there is no user nobody"


def test_a_name_belongs_to_one(operator: Operator) -> None:
    operator.add("alice", "--email", "alice@example.org")

    for arguments, what in (
        (["alice"], "user name"),
        (["bob", "--email", "ALICE@example.org"], "e-mail address"),
    ):
        said = operator("user", "add", *arguments, "--no-password")
        assert said.refused(ExitCode.REFUSED) == f"another account has this {what}"


@pytest.mark.parametrize(
    "option", [["--email", "alice"], ["--phone", "0170"], ["--display-name", "a\x1bb"]]
)
def test_what_the_rules_refuse_is_refused(operator: Operator, option: list[str]) -> None:
    operator("user", "add", "alice", "--no-password", *option).refused(ExitCode.REFUSED)

    assert operator("user", "list", "--json").document == {"users": [], "next": None}


def test_a_password_that_breaks_a_rule_is_not_repeated(operator: Operator) -> None:
    said = operator("user", "add", "alice", "--password-stdin", stdin="canary")

    assert said.refused(ExitCode.REFUSED) == "a password must have at least 8 characters"


def test_the_rules_for_passwords_are_settings(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LALEPASS_PASSWORDS__MIN_LENGTH", "64")
    said = operator("user", "add", "alice", "--password-stdin", stdin=PASSWORD)

    assert said.refused(ExitCode.REFUSED) == "a password must have at least 64 characters"


def test_a_new_password_replaces_the_old_one(operator: Operator) -> None:
    operator("user", "add", "alice", "--no-password").done()
    operator("user", "set-password", "alice", "--password-stdin", stdin=PASSWORD).done()

    assert operator("user", "show", "alice", "--json").document["password_changed_at"]


@pytest.mark.parametrize(
    ("options", "must_change", "expires", "said"),
    [
        ([], False, False, "has a new password\n"),
        (["--must-change"], True, False, "which has to be changed\n"),
        (["--temporary"], True, True, "which has to be changed within 3d\n"),
        (["--temporary", "--valid-for", "90m"], True, True, "which has to be changed within 90m\n"),
    ],
    ids=["usual", "to be changed", "for three days", "for 90 minutes"],
)
def test_a_password_may_be_for_a_time_only(
    operator: Operator,
    options: list[str],
    must_change: bool,  # noqa: FBT001 - a column of the table
    expires: bool,  # noqa: FBT001 - as above
    said: str,
) -> None:
    operator.add("alice")
    command = ["user", "set-password", "alice", "--password-stdin", *options]

    assert operator(*command, stdin=PASSWORD).done().endswith(said)
    user = operator("user", "show", "alice", "--json").document
    assert user["password_must_change"] is must_change
    assert bool(user["password_expires_at"]) is expires
    listed = operator("user", "list").done()
    assert ("until" in listed) is expires
    assert ("to be changed" in " ".join(listed.split())) is (must_change and not expires)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--valid-for", "3d"], "--valid-for is the time of a password that is --temporary"),
        (["--temporary", "--valid-for", "soon"], "soon is no time"),
        (["--temporary", "--valid-for", "0d"], "0d is no time"),
        (["--temporary", "--valid-for", "91d"], "91d is no time"),
        (["--temporary", "--valid-for", "3"], "3 is no time"),
        (["--temporary", "--valid-for", "-3d"], "-3d is no time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_no_time_is_explained(
    operator: Operator, options: list[str], sentence: str
) -> None:
    operator.add("alice")
    said = operator("user", "set-password", "alice", "--password-stdin", *options, stdin=PASSWORD)

    assert sentence in said.refused(ExitCode.USAGE)


def test_an_account_is_disabled_and_enabled_again(operator: Operator) -> None:
    operator("user", "add", "alice", "--no-password").done()
    for command, state in (("disable", "disabled"), ("enable", "active"), ("enable", "active")):
        operator("user", command, "alice").done()
        assert operator("user", "show", "alice", "--json").document["state"] == state


def test_a_deleted_name_is_not_given_out_by_accident(operator: Operator) -> None:
    operator("user", "add", "alice", "--no-password").done()
    operator("user", "delete", "alice", "--yes").done()

    said = operator("user", "add", "alice", "--no-password")
    assert "belonged to an account that was deleted" in said.refused(ExitCode.REFUSED)
    operator("user", "add", "alice", "--no-password", "--reuse-name").done()


def test_nothing_is_deleted_when_nobody_can_be_asked(operator: Operator) -> None:
    operator("user", "add", "alice", "--no-password").done()
    said = operator("user", "delete", "alice", stdin="alice\n")

    assert said.refused(ExitCode.USAGE) == "there is no terminal to ask on: use --yes"
    operator("user", "show", "alice").done()


def test_a_list_comes_in_pages(operator: Operator) -> None:
    for name in ("carol", "alice", "bob"):
        operator("user", "add", name, "--no-password").done()
    operator("user", "disable", "bob").done()

    first = operator("user", "list", "--limit", "2", "--json").document
    rest = operator("user", "list", "--limit", "2", "--after", first["next"], "--json").document
    disabled = operator("user", "list", "--state", "disabled", "--json").document

    assert [user["localpart"] for user in first["users"]] == ["alice", "bob"]
    assert first["next"] == "bob"
    assert [user["localpart"] for user in rest["users"]] == ["carol"]
    assert rest["next"] is None
    assert [user["localpart"] for user in disabled["users"]] == ["bob"]


def test_a_page_that_is_not_the_last_says_so(operator: Operator) -> None:
    for name in ("alice", "bob"):
        operator("user", "add", name, "--no-password").done()
    said = operator("user", "list", "--limit", "1")

    assert said.err == "There are more: go on with --after alice\n"


def test_a_table_fits_a_terminal_and_names_are_only_names(operator: Operator) -> None:
    operator("user", "add", "a" * 200, "--no-password").done()
    odd = "[red]Bob[/red] :smile: \u202e [link=x]"
    operator("user", "add", "bob", "--no-password", "--display-name", odd).done()
    table = operator("user", "list").done()

    assert max(map(len, table.splitlines())) <= 80
    assert table.count("a") >= 200
    together = " ".join(table.split())
    assert "[red]Bob[/red] :smile: \\u202e" in together
    assert "\x1b" not in table


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("0", "it should be greater than or equal to 1"),
        ("1001", "it should be less than or equal to 1000"),
        ("x", "it should be a valid integer"),
    ],
)
def test_a_page_has_a_sensible_size(operator: Operator, limit: str, sentence: str) -> None:
    assert operator("user", "list", "--limit", limit).refused(ExitCode.USAGE) == (
        f"invalid value for '--limit': {sentence} (see `lalepass user list --help`)"
    )
