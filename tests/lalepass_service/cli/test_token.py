import re
from pathlib import Path

import pytest

from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import Operator

_TOKEN = re.compile(r"lalepass_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


def test_a_token_is_all_that_is_printed(operator: Operator) -> None:
    said = operator("token", "create", "hs", "--scope", "check")

    token = _TOKEN.fullmatch(said.out.removesuffix("\n"))
    assert token
    assert token[1] in said.err
    assert token[0] not in said.err
    assert "not be shown again" in said.err


def test_a_token_can_go_to_a_file_that_only_its_owner_reads(
    operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    said = operator("token", "create", "hs", "--scope", "check", "--output", str(file))

    assert said.done() == ""
    assert _TOKEN.fullmatch(file.read_text().removesuffix("\n"))
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_is_never_overwritten(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("precious")
    said = operator("token", "create", "hs", "--scope", "check", "--output", str(file))

    assert said.refused(ExitCode.OUTSIDE) == (
        f"{file} is there already: choose another name, or remove it first"
    )
    assert file.read_text() == "precious"
    assert operator("token", "list", "--json").document == {"tokens": []}


def test_a_refused_token_leaves_no_file(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "token"
    said = operator("token", "create", "no name", "--scope", "check", "--output", str(file))

    assert "a token's name is made of" in said.refused(ExitCode.REFUSED)
    assert not file.exists()


@pytest.mark.parametrize("scopes", [[], ["--scope", "root"], ["--scope"]])
def test_a_token_is_good_for_something_that_there_is(operator: Operator, scopes: list[str]) -> None:
    assert operator("token", "create", "hs", *scopes).code == ExitCode.USAGE


def test_a_third_token_of_a_name_is_one_too_many(operator: Operator) -> None:
    for _ in range(2):
        operator("token", "create", "hs", "--scope", "check").done()

    said = operator("token", "create", "hs", "--scope", "check")
    assert said.refused(ExitCode.REFUSED) == "hs has 2 live tokens already: revoke one first"


def test_a_list_shows_everything_but_the_secret(operator: Operator) -> None:
    token = operator("token", "create", "hs", "--scope", "feed", "--scope", "check").out.strip()
    secret = token.split("_", 2)[2]
    listed = operator("token", "list", "--json")
    (shown,) = listed.document["tokens"]

    assert list(shown) == ["id", "name", "scopes", "created_at", "revoked_at"]
    assert shown["name"] == "hs"
    assert shown["scopes"] == ["check", "feed"]
    assert shown["revoked_at"] is None
    for text in (listed.out, operator("token", "list").done()):
        assert shown["id"] in text
        assert secret not in text


def test_neither_ids_nor_times_are_broken(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "homeserver-with-a-name-of-some-length-and-then-some"
    operator("token", "create", name, "--scope", "check", "--scope", "feed").done()
    (token,) = operator("token", "list", "--json").document["tokens"]
    operator("token", "revoke", token["id"]).done()
    (token,) = operator("token", "list", "--json").document["tokens"]

    for columns in (80, 30):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown = operator("token", "list").done()
        for part in (token["id"], token["created_at"], token["revoked_at"]):
            assert f"{part} " in shown
        assert max(map(len, shown.splitlines())) <= 80
        # Folded, and all there.
        start = shown.index("NAME")
        end = shown.index("SCOPES")
        assert "".join(line[start:end].strip() for line in shown.splitlines()[1:]) == name


def test_a_revoked_token_stays_in_the_list(operator: Operator) -> None:
    operator("token", "create", "hs", "--scope", "check").done()
    (token,) = operator("token", "list", "--json").document["tokens"]
    operator("token", "revoke", token["id"]).done()
    (revoked,) = operator("token", "list", "--json").document["tokens"]

    assert revoked["revoked_at"]


@pytest.mark.parametrize("token_id", ["0" * 12, "", "x" * 5000, "\udcff", "\x1b[31m"])
def test_what_is_not_there_is_not_revoked(operator: Operator, token_id: str) -> None:
    sentence = operator("token", "revoke", token_id).refused(ExitCode.REFUSED)

    assert sentence.startswith("there is no token")
    assert sentence.isprintable()
