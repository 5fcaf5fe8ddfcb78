"""`lalepass topology check`: what is printed, and the exit code."""

import itertools
from pathlib import Path

import pytest

from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.cli.operator import Operator
from tests.lalepass_service.topology.answering import web

FILE = """
[parts.here]
kind = "job"
[parts.there]
kind = "http"
address = "{address}"
[parts.closed]
kind = "http"
address = "127.0.0.1:1"
[[reach]]
from = ["here"]
to = ["there"]
"""


def file(tmp_path: Path, address: str) -> str:
    path = tmp_path / "topology.toml"
    path.write_text(FILE.format(address=address))
    return str(path)


def test_all_is_well(operator: Operator, tmp_path: Path) -> None:
    with web({"/": (200, {}, b"")}) as there:
        said = operator.bare("topology", "check", file(tmp_path, there.address), "--from", "here")

    assert said.done() == (
        "ok    there: answers\n"
        "ok    clocks: 1 part and this machine agree\n"
        "ok    closed: out of reach, as they should be: closed\n"
        "\n"
        "0 wrong, 0 warnings, 3 ok\n"
    )
    assert said.err == ""


def test_what_is_wrong_comes_last_with_its_fix(operator: Operator, tmp_path: Path) -> None:
    with web({"/": (200, {"Date": "Thu, 01 Jan 2100 00:00:00 GMT"}, b"")}) as there:
        path = file(tmp_path, there.address)
        said = operator.bare(
            *("topology", "check", path, "--from", "here", "--also", f"closed={there.address}")
        )

    assert said.code == 2
    assert f"FAIL  closed: can be reached at {there.address}, and must not be" in said.out
    assert "      -> put them on networks that do not meet" in said.out
    assert said.out.endswith("\n2 wrong, 0 warnings, 1 ok\n")
    assert said.out.startswith("ok    there: answers\n")
    assert all(len(line) <= 80 for line in said.out.splitlines())


@pytest.mark.parametrize("given", ["127.0.0.1", "127.0.0.1:{port}", "localhost"])
def test_another_address_has_the_same_port_if_none_is_given(
    operator: Operator, tmp_path: Path, given: str
) -> None:
    with web({}) as there:
        path = tmp_path / "topology.toml"
        text = FILE.format(address="nowhere.invalid:1")
        path.write_text(text.replace("127.0.0.1:1", f"nowhere.invalid:{there.port}"))
        also = f"closed={given.format(port=there.port)}"
        said = operator.bare("topology", "check", str(path), "--from", "here", "--also", also)

    assert "FAIL  closed: can be reached at " in said.out


def test_warnings_have_a_code_of_their_own(operator: Operator, tmp_path: Path) -> None:
    said = operator.bare("topology", "check", file(tmp_path, "127.0.0.1:1"))

    assert said.code == 1
    assert "WARN  there: not seen from here: 127.0.0.1:1 refuses connections\n" in said.out
    assert said.out.endswith("0 wrong, 2 warnings, 0 ok\n")


def test_as_json(operator: Operator, tmp_path: Path) -> None:
    path = file(tmp_path, "127.0.0.1:1")
    said = operator.bare("topology", "check", path, "--from", "here", "--json")

    assert said.code == 2
    assert said.document == {
        "from": "here",
        "findings": [
            {
                "part": "there",
                "about": "reach",
                "severity": "fail",
                "says": "127.0.0.1:1 refuses connections",
                "fix": "start it, or let it listen on the address that others reach",
            },
            {
                "part": "closed",
                "about": "closed",
                "severity": "ok",
                "says": "out of reach, as they should be: closed",
                "fix": None,
            },
        ],
        "fails": 1,
        "warns": 0,
        "notes": 0,
    }


def test_what_is_known_is_told_and_is_no_warning(operator: Operator, tmp_path: Path) -> None:
    with web({"/": (200, {}, b"")}) as there, web({}) as other:
        known = '[[open]]\nfrom = ["here"]\nto = ["closed"]\nbecause = "it is known"\n'
        path = tmp_path / "topology.toml"
        text = FILE.format(address=there.address).replace("127.0.0.1:1", other.address)
        path.write_text(text + known)
        said = operator.bare("topology", "check", str(path), "--from", "here")

    assert said.code == 0
    assert "note  open: closed, which nobody needs: it is known\n" in said.out
    assert said.out.endswith("0 wrong, 0 warnings, 2 ok, 1 to know\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "nobody"], "--from: there is no part nobody in "),
        (["--from", "here", "--also", "x=a:1"], "--also: there is no part x that listens"),
        (["--from", "here", "--also", "here=a:1"], "--also: there is no part here that listens"),
        (["--from", "here", "--also", "there"], "--also:  is no address"),
        (["--from", "here", "--also", "there=a b"], "--also: a b is no address"),
    ],
    ids=itertools.count(),
)
def test_what_can_not_be_meant_is_refused(
    operator: Operator, tmp_path: Path, arguments: list[str], says: str
) -> None:
    said = operator.bare("topology", "check", file(tmp_path, "a:1"), *arguments)

    # 1 and 2 are about the parts.
    assert said.refused(3).startswith(says)


def test_a_file_that_is_wrong_is_refused(operator: Operator, tmp_path: Path) -> None:
    path = file(tmp_path, "a")

    assert operator.bare("topology", "check", path).refused(ExitCode.CONFIG) == (
        f"{path}: parts.there.address: should be a host and a port, such as db1.example.org:5432"
    )
    assert "can't be read" in operator.bare("topology", "check", "/none").refused(ExitCode.CONFIG)
    for arguments in ([], [path, "--form", "here"], [path, "--from"]):
        operator.bare("topology", "check", *arguments).refused(3)
