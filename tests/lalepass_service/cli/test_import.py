"""Accounts and hashes that come from elsewhere."""

import itertools
import json
from pathlib import Path

import pytest

from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.adapters.hashing.golden import GOLDEN
from tests.lalepass_service.cli.operator import PASSWORD, Operator, Said

BCRYPT = GOLDEN["mkpasswd, bcrypt"]
SYNAPSE = GOLDEN["Synapse"].removeprefix("{SYNAPSE}")


def scheme(operator: Operator, name: str) -> object:
    return operator("user", "show", name, "--json").document["password_scheme"]


def imported(operator: Operator, tmp_path: Path, *lines: object) -> Said:
    file = tmp_path / "users.jsonl"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return operator("user", "import", str(file))


@pytest.mark.parametrize("text", GOLDEN.values(), ids=GOLDEN)
def test_a_hash_of_every_kind_is_brought_along(operator: Operator, text: str) -> None:
    operator("user", "add", "alice", "--hash-stdin", stdin=f"{text}\n").done()

    assert scheme(operator, "alice")


def test_a_hash_takes_the_place_of_a_password(operator: Operator) -> None:
    operator.add("alice")
    operator("user", "set-password", "alice", "--hash-stdin", "--synapse", stdin=SYNAPSE).done()

    assert scheme(operator, "alice") == "synapse-bcrypt,cost=5"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("rubbish", "the hash is not accepted: it is of no known format"),
        (
            "{SSHA}" + "A" * 29,
            "the hash is not accepted: its salt or its hash was cut off or changed",
        ),
        (
            BCRYPT.replace("$05$", "$31$"),
            "the hash is not accepted: it costs more or less than a check may cost",
        ),
    ],
)
def test_a_hash_that_could_not_be_verified_is_refused(
    operator: Operator, given: str, sentence: str
) -> None:
    said = operator("user", "add", "alice", "--hash-stdin", stdin=given)

    assert said.refused(ExitCode.REFUSED) == sentence
    assert operator("user", "list", "--json").document["users"] == []


@pytest.mark.parametrize(
    "options",
    [
        ["--hash-stdin", "--password-stdin"],
        ["--hash-stdin", "--no-password"],
        ["--password-stdin", "--synapse"],
        ["--password-stdin", "--normal-form", "nfkc"],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_together_are_refused(
    operator: Operator, options: list[str]
) -> None:
    operator("user", "add", "alice", *options, stdin=PASSWORD).refused(ExitCode.USAGE)


def test_a_file_of_accounts_is_brought_in_and_can_be_brought_in_again(
    operator: Operator, tmp_path: Path
) -> None:
    lines = [
        {
            "localpart": "alice",
            "hash": SYNAPSE,
            "kind": "synapse",
            "display_name": "Alice Müller",
            "emails": ["Alice@Example.org"],
            "phones": ["+49 170 1234567"],
            "admin": True,
        },
        "",
        {"localpart": "bob", "hash": BCRYPT, "normal_form": "nfc", "state": "disabled"},
        {"localpart": "carol"},
    ]
    first = imported(operator, tmp_path, *lines).done()
    again = imported(operator, tmp_path, *lines).done()

    assert first == "3 added, 0 there already, 0 refused\n"
    assert again == "0 added, 3 there already, 0 refused\n"
    alice = operator("user", "show", "alice", "--json").document
    assert alice["password_scheme"] == "synapse-bcrypt,cost=5"
    assert alice["emails"] == ["alice@example.org"]
    assert alice["admin"] is True
    assert operator("user", "show", "bob", "--json").document["state"] == "disabled"
    assert scheme(operator, "carol") is None


def test_lines_that_are_refused_are_named_and_the_others_are_done(
    operator: Operator, tmp_path: Path
) -> None:
    said = imported(
        operator,
        tmp_path,
        {"localpart": "alice", "hash": BCRYPT},
        {"localpart": "alice", "hash": GOLDEN["htpasswd, bcrypt"]},
        {"localpart": "bob", "hash": "canary"},
        {"localpart": "Bob Smith"},
        {"localpart": "bob", "hush": "canary"},
        {"localpart": 5},
        '{"localpart": "canary',
        {"localpart": "bob", "kind": "synapse"},
        {"localpart": "bob", "display_name": "x" * 70_000},
        {"localpart": "carol", "hash": BCRYPT},
    )

    assert said.code == ExitCode.REFUSED
    assert said.out == "2 added, 0 there already, 8 refused\n"
    named = [line.partition(":")[0] for line in said.err.splitlines()]
    assert named == [f"line {number}" for number in range(2, 10)]
    assert "canary" not in said.err
    assert scheme(operator, "carol") == "bcrypt,cost=5"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"localpart": "bob", "hush": 1}, "hush: there is no such field"),
        ({}, "localpart: this field is needed"),
        ({"localpart": 5}, "localpart: should be text"),
        (
            {"localpart": "bob", "emails": "a@example.org"},
            'emails: should be a list, such as ["a@example.org"]',
        ),
        ({"localpart": "bob", "emails": [5]}, "emails.0: should be text"),
        ({"localpart": "bob", "phones": ["+1"] * 101}, "phones: should have 100 entries at most"),
        ({"localpart": "bob", "admin": 1}, "admin: should be true or false"),
        ({"localpart": "bob", "state": "gone"}, "state: should be 'active' or 'disabled'"),
        ({"localpart": "bob", "kind": "other"}, "kind: should be 'synapse'"),
        (["bob"], 'should be an object, such as {"localpart": "alice"}'),
        ("{localpart", "is no JSON (column 2)"),
        ('{"localpart": "bob"', "is no JSON (column 19)"),
    ],
    ids=itertools.count(),
)
def test_what_is_wrong_with_a_line_is_said_in_our_words(
    operator: Operator, tmp_path: Path, line: object, sentence: str
) -> None:
    assert imported(operator, tmp_path, line).err == f"line 1: {sentence}\n"


def test_what_is_in_a_file_writes_no_line_of_its_own(operator: Operator, tmp_path: Path) -> None:
    forged = "x\n3 added, 0 there already, 0 refused\r\x1b[2K\u2028y"
    said = imported(
        operator, tmp_path, {"localpart": "bob", forged: 1}, {"localpart": "alice", "admin": forged}
    )

    assert said.code == ExitCode.REFUSED
    assert said.out == "0 added, 0 there already, 2 refused\n"
    assert [line.partition(":")[0] for line in said.err.split("\n")] == ["line 1", "line 2", ""]
    assert "x\\n3 added" in said.err
    assert not set("\r\x1b\u2028") & set(said.err)


def test_a_file_that_is_not_there_is_one_sentence(operator: Operator) -> None:
    said = operator("user", "import", "/nowhere/users.jsonl")

    assert "/nowhere/users.jsonl" in said.refused(ExitCode.OUTSIDE)


def test_a_person_who_has_logged_in_since_is_there_already(
    operator: Operator, tmp_path: Path
) -> None:
    line = {"localpart": "alice", "hash": BCRYPT}
    imported(operator, tmp_path, line).done()
    # As a login does: the record is ours by now.
    operator("user", "set-password", "alice", "--password-stdin", stdin=PASSWORD).done()

    assert imported(operator, tmp_path, line).done().startswith("0 added, 1 there already")
