"""From an operator's list to a password that is refused."""

import hashlib
import json
from pathlib import Path

import pytest

from lalepass_service.adapters.blocklist.sources import FORMATS
from lalepass_service.cli import blocklist
from lalepass_service.cli.console import ExitCode
from tests.lalepass_service.adapters.blocklist.hosts import hosting, says
from tests.lalepass_service.cli.operator import PASSWORD, Operator

LISTED = "Plank Fosforus Wadi"


def configure(operator: Operator, text: str) -> None:
    file = operator.directory / "lalepass.toml"
    file.write_text(file.read_text().replace("[passwords]\n", f"[passwords]\n{text}\n"))


@pytest.fixture
def source(operator: Operator) -> Path:
    path = operator.directory / "source.txt"
    path.write_bytes(f"{LISTED}\r\nanother\nanother\n\n\xff".encode("latin-1"))
    return path


@pytest.fixture
def made(operator: Operator, source: Path) -> Path:
    path = operator.directory / "list"
    operator.bare("blocklist", "build", str(source), "--output", str(path)).done()
    return path


def test_a_list_of_the_operators_is_obeyed(operator: Operator, made: Path) -> None:
    configure(operator, 'blocklists = ["list"]')
    operator("config", "check").done()

    said = operator("user", "add", "alice", "--password-stdin", stdin=LISTED)
    assert "many people have chosen it" in said.refused(ExitCode.REFUSED)
    operator("user", "add", "alice", "--password-stdin", stdin=f"{LISTED}!").done()
    said = operator("user", "set-password", "alice", "--password-stdin", stdin=LISTED)
    assert LISTED not in said.refused(ExitCode.REFUSED)
    assert LISTED.encode() not in made.read_bytes()


def test_the_built_in_list_needs_no_setting(operator: Operator) -> None:
    said = operator("user", "add", "alice", "--password-stdin", stdin="Administration")

    assert "many people have chosen it" in said.refused(ExitCode.REFUSED)


def test_the_built_in_list_can_be_left_out(operator: Operator) -> None:
    configure(operator, "builtin_blocklist = false")

    operator("user", "add", "alice", "--password-stdin", stdin="Administration").done()


def test_words_of_the_service_are_settings(operator: Operator) -> None:
    configure(operator, 'words = ["Acme Chat"]')
    said = operator("user", "add", "alice", "--password-stdin", stdin="acmechat-2024")

    assert "the name of the service" in said.refused(ExitCode.REFUSED)


def test_what_came_of_a_build_is_said(operator: Operator, source: Path) -> None:
    arguments = ["blocklist", "build", str(source), "--output", str(operator.directory / "new")]
    said = operator.bare(*arguments)

    assert ": 2 entries of 5 lines, " in said.done()
    assert said.err == "left out: 1 lines that are not utf8\n"
    document = operator.bare(*arguments, "--json").document
    assert document["bytes"] == (operator.directory / "new").stat().st_size
    assert (document["entries"], document["not_utf8"], document["too_long"]) == (2, 1, 0)


def test_a_build_reads_standard_input_and_digests(operator: Operator) -> None:
    path = str(operator.directory / "new")
    line = hashlib.sha1(LISTED.encode(), usedforsecurity=False).hexdigest().upper() + ":9\r\n"
    operator.bare(
        *("blocklist", "build", "-", "--format", "sha1-hibp", "--output", path), stdin=line
    ).done()

    assert "1 entries (sha1)" in operator.bare("blocklist", "verify", path).done()
    said = operator.bare("blocklist", "check", path, "--password-stdin", "--json", stdin=LISTED)
    assert said.document == {"listed": True}


@pytest.mark.parametrize(
    ("typed", "listed"),
    [(LISTED, True), (LISTED.upper(), False), ("another", True), ("ANOTHER", True), ("an", False)],
)
def test_a_list_can_be_asked(operator: Operator, made: Path, typed: str, listed: bool) -> None:  # noqa: FBT001 - a column of the table
    said = operator.bare("blocklist", "check", str(made), "--password-stdin", stdin=f"{typed}\n")

    assert ("is on the list" in said.done()) is listed
    assert typed not in said.out


@pytest.mark.parametrize("command", [["check", "--password-stdin"], ["verify"]], ids=" ".join)
def test_what_is_no_list_is_refused(operator: Operator, source: Path, command: list[str]) -> None:
    said = operator.bare("blocklist", *command, str(source), stdin=LISTED)

    assert said.refused(ExitCode.OUTSIDE) == (
        f"a blocklist can't be used: {source}: it is not of `lalepass blocklist build`"
    )


@pytest.mark.parametrize(
    "command",
    [["config", "check"], ["serve"], ["user", "add", "alice"], ["user", "set-password", "alice"]],
    ids=" ".join,
)
def test_a_list_that_is_missing_is_said_before_anything_is_asked(
    operator: Operator, command: list[str]
) -> None:
    configure(operator, 'blocklists = ["nowhere"]')

    assert operator(*command).refused(ExitCode.OUTSIDE) == (
        f"a blocklist can't be used: {operator.directory}/nowhere: No such file or directory"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["missing", "--output", "new"], ExitCode.OUTSIDE, "missing: No such file or directory"),
        (["source.txt", "--output", "no/new"], ExitCode.USAGE, "no is no folder to write to"),
        (["source.txt", "--output", "source.txt"], ExitCode.USAGE, "is one of the sources"),
        (["source.txt", "--output", "."], ExitCode.USAGE, ". is a folder: name the file"),
        (["/dev/null", "--output", "new"], ExitCode.REFUSED, "there is no password in the sources"),
        ([".", "--output", "new"], ExitCode.OUTSIDE, ".: Is a directory"),
        (
            ["source.txt", "--output", "new", "--format", "sha1-hibp"],
            ExitCode.REFUSED,
            "source.txt, line 1: this is no SHA-1 digest",
        ),
    ],
)
def test_what_can_not_be_built_is_said_and_leaves_nothing(
    *,
    operator: Operator,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: ExitCode,
    sentence: str,
) -> None:
    monkeypatch.chdir(operator.directory)
    before = set(operator.directory.iterdir())

    assert sentence in operator.bare("blocklist", "build", *arguments).refused(code)
    assert set(operator.directory.iterdir()) == before
    assert source.exists()


def test_a_stolen_password_is_refused(operator: Operator) -> None:
    digest = hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).hexdigest().upper()
    with hosting(says(f"{digest[5:]}:3".encode())) as host:
        configure(operator, f"breach_range_url = {json.dumps(host.url)}")
        said = operator("user", "add", "alice", "--password-stdin", stdin=PASSWORD)

    assert "has been stolen elsewhere" in said.refused(ExitCode.REFUSED)
    assert host.requests[0].startswith(f"GET /range/{digest[:5]} ".encode())


def test_a_host_that_is_away_stops_nobody_and_is_named(operator: Operator) -> None:
    with hosting(says(b"", status="503 Away")) as host:
        configure(operator, f"breach_range_url = {json.dumps(host.url)}")
        said = operator("user", "add", "alice", "--password-stdin", stdin=PASSWORD)

    assert said.done() == "user alice is added\n"
    assert said.err == (
        "lalepass: warning: the password was not looked up: the host that knows breached passwords"
        " gave no answer: it said 503\n"
    )


def test_the_formats_on_the_command_line_are_those_that_can_be_read() -> None:
    assert {each.value for each in blocklist.Format} == set(FORMATS)
