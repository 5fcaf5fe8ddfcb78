"""Who can read what, by the modes of files and folders."""

import grp
import os
from pathlib import Path

import pytest

from lalepass_provider.check.finding import Severity
from lalepass_provider.check.permissions import Account, look, look_at_folder
from tests.lalepass_provider.check.found import names

ME = Account.mine()
STRANGER = Account("stranger", 54321, frozenset({54321}))
IN_GROUP = Account("neighbour", 54321, frozenset({os.getegid()}))


@pytest.fixture
def token(passable: Path) -> Path:
    """A file that everybody can get to."""
    path = passable / "token"
    path.write_text("secret")
    return path


def test_an_account_has_its_own_group_and_those_that_name_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups = [
        grp.struct_group(("keys", "x", 4711, ["somebody", "root"])),
        grp.struct_group(("others", "x", 4712, ["somebody"])),
    ]
    monkeypatch.setattr(grp, "getgrall", lambda: groups)

    assert Account.named("root") == Account("root", 0, frozenset({0, 4711}))


@pytest.mark.parametrize(
    ("mode", "reader", "expected"),
    [
        (0o600, ME, []),
        (0o640, ME, []),
        (0o644, ME, ["exposed-file"]),
        (0o602, ME, ["exposed-file"]),
        (0o600, STRANGER, ["unreadable-file"]),
        (0o644, STRANGER, ["exposed-file"]),
        (0o640, IN_GROUP, []),
        (0o600, IN_GROUP, ["unreadable-file"]),
        # The class that fits decides, also when a wider one may more.
        (0o604, IN_GROUP, ["unreadable-file"]),
    ],
    ids=lambda value: oct(value) if isinstance(value, int) else getattr(value, "name", str(value)),
)
def test_the_mode_decides(token: Path, mode: int, reader: Account, expected: list[str]) -> None:
    token.chmod(mode)

    assert names(look(token, reader=reader, option="o")) == expected


def test_an_owner_who_may_not_is_told(token: Path) -> None:
    token.chmod(0o044)
    owner = Account("owner", token.stat().st_uid, frozenset())
    expected = ["exposed-file"] if owner.uid == 0 else ["unreadable-file"]

    assert names(look(token, reader=owner, option="o")) == expected


def test_what_is_no_secret_may_be_read_by_all(token: Path) -> None:
    token.chmod(0o644)

    assert names(look(token, reader=STRANGER, option="o", secret=False)) == []


def test_a_folder_may_be_in_the_way(token: Path) -> None:
    token.chmod(0o644)
    token.parent.chmod(0o700)
    (found,) = look(token, reader=STRANGER, option="o")

    assert str(token.parent) in found.says
    assert found.severity is Severity.ERROR
    # And what nobody can get to is not exposed.
    assert names(look(token, reader=ME, option="o")) == []


def test_behind_a_link_the_file_itself_counts(token: Path) -> None:
    token.chmod(0o600)
    link = token.with_name("link")
    link.symlink_to(token)

    assert names(look(link, reader=STRANGER, option="o")) == ["unreadable-file"]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    (found,) = look(tmp_path / "none", reader=ME, option="o")

    assert "No such file or directory" in found.says


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert names(look(tmp_path, reader=ME, option="o")) == ["unreadable-file"]


def test_accounts_are_found_by_name() -> None:
    root = Account.named("root")

    assert root.uid == 0
    assert Account.owner_of(Path("/")) == root
    with pytest.raises(KeyError):
        Account.named("nobody-of-this-name")


@pytest.mark.parametrize(
    ("mode", "writer", "expected"),
    [
        (0o700, ME, []),
        (0o700, STRANGER, ["unwritable-folder"]),
        (0o755, STRANGER, ["unwritable-folder"]),
        (0o770, IN_GROUP, []),
        (0o766, STRANGER, ["unwritable-folder"]),
        (0o777, STRANGER, []),
    ],
    ids=lambda value: oct(value) if isinstance(value, int) else getattr(value, "name", str(value)),
)
def test_who_can_write_in_a_folder(
    token: Path, mode: int, writer: Account, expected: list[str]
) -> None:
    folder = token.parent / "state"
    folder.mkdir()
    folder.chmod(mode)

    assert names(look_at_folder(folder, writer=writer, option="o")) == expected


def test_a_folder_that_is_not_there_can_not_be_written_in(tmp_path: Path) -> None:
    found = look_at_folder(tmp_path / "none", writer=ME, option="o")

    assert names(found) == ["unwritable-folder"]
