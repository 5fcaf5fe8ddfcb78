from pathlib import Path

import pytest

from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import Operator


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    for name in ("authority", "there"):
        (tmp_path / name).mkdir()
    return ["--authority", str(tmp_path / "authority"), "--directory", str(tmp_path / "there")]


def test_it_makes_a_certificate_once_and_renews_it_in_time(
    operator: Operator, folders: list[str], tmp_path: Path
) -> None:
    said = operator.bare("certificate", "lalepass", *folders, "--mode", "640").done()

    there = tmp_path / "there"
    assert said == f"made {there}/lalepass.crt, for lalepass, for 90 days\n"
    assert {file.name for file in there.iterdir()} == {"ca.crt", "lalepass.crt", "lalepass.key"}
    assert (there / "lalepass.key").stat().st_mode & 0o777 == 0o640
    assert (there / "ca.crt").read_bytes() == (tmp_path / "authority/ca.crt").read_bytes()
    first = (there / "lalepass.crt").read_bytes()

    trusted = (there / "ca.crt").stat()
    again = operator.bare("certificate", "lalepass", *folders).done()
    assert again == f"{there}/lalepass.crt is valid for more than 30 days\n"
    assert (there / "lalepass.crt").read_bytes() == first
    assert (there / "ca.crt").stat() == trusted
    assert trusted.st_mode & 0o777 == 0o644

    for change in (["--renew"], ["--host", "lalepass.internal"], ["--days", "20"]):
        operator.bare("certificate", "lalepass", *folders, *change).done()
        second = (there / "lalepass.crt").read_bytes()
        assert second != first
        first = second
    (there / "ca.crt").write_bytes(b"half of")
    # Soon over, and so made anew without being asked for.
    operator.bare("certificate", "lalepass", *folders).done()
    assert (there / "lalepass.crt").read_bytes() != first
    assert (there / "ca.crt").read_bytes() == (tmp_path / "authority/ca.crt").read_bytes()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["a/b"], "NAME is made of letters, digits and . _ -, at most 64"),
        (["--", "-a"], "NAME is made of letters, digits and . _ -, at most 64"),
        (["a", "--mode", "rw"], "--mode is three octal digits, such as 640"),
        (["a", "--mode", "888"], "--mode is three octal digits, such as 640"),
        (
            ["a", "--host", "bücher"],
            "--host is a name of letters and digits, or an address",
        ),
        (["a", "--host", ""], "--host is a name of letters and digits, or an address"),
        (["a", "--host", "a b"], "--host is a name of letters and digits, or an address"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    operator: Operator, folders: list[str], tmp_path: Path, options: list[str], why: str
) -> None:
    assert operator.bare("certificate", *folders, *options).refused(ExitCode.USAGE) == why
    assert not list((tmp_path / "there").iterdir())


def test_folders_that_are_not_there_are_made_for_their_owner_alone(
    operator: Operator, tmp_path: Path
) -> None:
    authority, there = tmp_path / "authority", tmp_path / "there"
    folders = ("--authority", str(authority), "--directory", str(there))

    operator.bare("certificate", "a", *folders).done()

    assert (there / "a.crt").is_file()
    assert [folder.stat().st_mode & 0o777 for folder in (authority, there)] == [0o700, 0o700]


def test_a_folder_that_can_not_be_made_is_named(operator: Operator, tmp_path: Path) -> None:
    nowhere = tmp_path / "no/where"
    said = operator.bare(
        "certificate", "a", "--authority", str(nowhere), "--directory", str(tmp_path)
    )

    assert said.refused(ExitCode.OUTSIDE) == f"{nowhere}: No such file or directory"


def test_what_is_no_authority_is_said_and_kept(
    operator: Operator, folders: list[str], tmp_path: Path
) -> None:
    (tmp_path / "authority/ca.key").write_text("something else")
    (tmp_path / "authority/ca.crt").write_text("something else")

    said = operator.bare("certificate", "a", *folders).refused(ExitCode.OUTSIDE)

    assert said == f"{tmp_path}/authority holds no authority that this program made"
    assert (tmp_path / "authority/ca.key").read_text() == "something else"
