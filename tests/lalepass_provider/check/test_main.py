"""The command, as a whole."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lalepass_provider.check import doctor, installed
from lalepass_provider.check.__main__ import ExitCode, main
from lalepass_provider.check.asking import Exchange, Target
from lalepass_provider.check.files import Configuration
from lalepass_provider.check.finding import Finding, Severity
from lalepass_provider.check.permissions import Account
from lalepass_provider.files import FileFault
from tests.lalepass_provider.check.found import names

TOKEN = "lalepass_0123456789ab_" + "canary7" * 6 + "x"


@pytest.fixture
def homeserver(tmp_path: Path) -> dict[str, Any]:
    token_path = tmp_path / "token"
    token_path.write_text(TOKEN)
    token_path.chmod(0o600)
    return {
        "server_name": "hs.example",
        "report_stats": False,
        "modules": [
            {
                "module": "lalepass_provider.LalepassProvider",
                "config": {"url": "http://127.0.0.1:1", "token_path": str(token_path)},
            }
        ],
        "password_config": {"localdb_enabled": False},
    }


def write(folder: Path, config: object) -> str:
    path = folder / "homeserver.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_nothing_is_wrong(
    tmp_path: Path, homeserver: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--offline", write(tmp_path, homeserver)])

    said = capsys.readouterr()
    assert (code, said.err) == (ExitCode.OK, "")
    assert said.out.splitlines()[-1].startswith("0 errors, 0 warnings, ")
    assert f"This is Synapse {installed.synapse_version()}" in said.out
    assert "This Synapse passes on why a password was not checked." in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_an_error_and_a_warning_have_codes_of_their_own(
    tmp_path: Path, homeserver: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    homeserver["enable_registration"] = True
    path = write(tmp_path, homeserver)

    assert main(["--offline", path]) == ExitCode.OK
    assert main(["--offline", "--strict", path]) == ExitCode.WARNINGS
    assert main(["--strict", path]) == ExitCode.ERRORS
    assert "There is no answer from http://127.0.0.1:1" in " ".join(capsys.readouterr().out.split())


def test_a_program_reads_json(
    tmp_path: Path, homeserver: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--offline", "--json", write(tmp_path, homeserver)])

    document = json.loads(capsys.readouterr().out)
    assert (document["errors"], document["warnings"]) == (0, 0)
    assert all(finding["says"] for finding in document["findings"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["/nowhere/homeserver.yaml"], "/nowhere/homeserver.yaml can't be read"),
        (["--user", "nobody-of-this-name", "{good}"], "there is no user nobody-of-this-name"),
        (["--colour", "{good}"], "--colour"),
        ([], "the following arguments are required: FILE"),
    ],
)
def test_what_can_not_be_looked_at_is_no_finding(
    tmp_path: Path,
    homeserver: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    good = write(tmp_path, homeserver)
    try:
        code = main([argument.format(good=good) for argument in arguments])
    except SystemExit as ending:
        code = int(str(ending.code))

    said = capsys.readouterr()
    assert (code, said.out) == (ExitCode.NOT_LOOKED, "")
    assert sentence in said.err


def test_without_synapse_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installed, "synapse_version", lambda: None)

    assert main(["homeserver.yaml"]) == ExitCode.NOT_LOOKED
    assert "this Python has no Synapse" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.139.9", ["synapse-old"]), ("1.140.0", []), ("1.163.2", []), ("2.0rc1", [])],
)
def test_a_synapse_that_is_too_old_is_told(version: str, expected: list[str]) -> None:
    assert names(installed.look(version)) == expected


def test_a_synapse_that_can_not_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> bool:
        raise SystemExit(1)  # as `synapse/app/__init__.py` does when something is missing

    monkeypatch.setattr("lalepass_provider.selftest.honest_errors_pass", leave)
    assert names(installed.look("1.163.2")) == ["synapse-broken"]
    monkeypatch.setattr("lalepass_provider.selftest.honest_errors_pass", lambda: False)
    assert names(installed.look("1.163.2")) == ["dishonest"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"modules": []}, ["not-listed"]),
        ({"password_config": {}}, ["two-passwords", "unreachable"]),
        ({"modules": [{"module": "lalepass_provider.LalepassProvider"}]}, ["option-wrong"]),
    ],
    ids=["not listed", "two passwords", "no options"],
)
def test_everything_else_is_looked_at_although_one_thing_is_wrong(
    homeserver: dict[str, Any], change: dict[str, Any], expected: list[str]
) -> None:
    found = look({**homeserver, **change}, fault=TimeoutError("x"))

    assert names(found) == expected
    assert len(found) > 5


def look(values: dict[str, Any], **exchange: Any) -> list[Finding]:
    asked: list[Target] = []

    def ask(target: Target) -> Exchange:
        asked.append(target)
        return Exchange(**exchange)

    configuration = Configuration(values, {"modules": Path("/etc/homeserver.yaml")})
    return list(doctor.look(configuration, reader=Account.mine(), online=True, now=0.0, ask=ask))


def test_each_replica_is_asked(homeserver: dict[str, Any]) -> None:
    options = homeserver["modules"][0]["config"]
    del options["url"]
    options["urls"] = ["https://a.example", "https://b.example:8220"]
    found = look(homeserver, fault=TimeoutError("x"))

    assert [f.option for f in found if f.name == "unreachable"] == [
        "modules[0].config.urls[0]",
        "modules[0].config.urls[1]",
    ]


def test_a_file_that_is_not_there_is_one_error_and_what_is_in_it_is_another(
    homeserver: dict[str, Any], tmp_path: Path
) -> None:
    options = homeserver["modules"][0]["config"]
    options["token_path"] = str(tmp_path / "none")
    assert names(look(homeserver), least=Severity.ERROR) == ["unreadable-file"]

    (tmp_path / "none").write_text("no token")
    (tmp_path / "none").chmod(0o600)
    assert names(look(homeserver), least=Severity.ERROR) == ["option-wrong"]

    options |= {"token_path": str(tmp_path / "other"), "colour": "red"}
    assert names(look(homeserver), least=Severity.ERROR) == ["option-wrong", "unreadable-file"]


@pytest.mark.parametrize(("uid", "reads"), [(0, True), (54321, False), (54321, True)])
def test_whom_synapse_runs_as_is_told_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, *, reads: bool
) -> None:
    """In containers the key may be root's, and Synapse reads it by its group."""
    key = tmp_path / "signing.key"
    key.touch()
    config = {"signing_key_path": str(key)}
    mine = Account("mine", uid, frozenset({uid}))
    monkeypatch.setattr(Account, "mine", lambda: mine)
    monkeypatch.setattr(os, "access", lambda *_: reads)
    guessed = doctor.reader(config, named=None)

    assert guessed == (mine if uid and reads else Account.owner_of(key))
    assert doctor.reader(config, named="root").uid == 0
    assert doctor.reader({}, named=None) == mine
    assert doctor.reader({"signing_key_path": "/nowhere"}, named=None) == mine


@pytest.mark.parametrize("option", ["token_path", "state_path"])
def test_who_may_not_look_is_told_to_and_nothing_is_said_of_synapse(
    tmp_path: Path,
    homeserver: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    """What is open to Synapse is no fault of the configuration, and its owner is to stay."""
    options = homeserver["modules"][0]["config"]
    options["lifecycle"] = {"state_path": str(tmp_path / "state")}
    closed = tmp_path if option == "state_path" else Path(options["token_path"])
    monkeypatch.setattr(Account, "mine", lambda: Account("joe", 54321, frozenset()))
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != closed)
    if option == "token_path":

        def refuse(path: Path) -> bytes:
            raise FileFault(path, "the file can't be read: Permission denied")

        monkeypatch.setattr("lalepass_provider.files._contents", refuse)

    code = main(["--offline", "--user", "root", write(tmp_path, homeserver)])

    said = capsys.readouterr()
    assert (code, said.out) == (ExitCode.NOT_LOOKED, "")
    assert f"joe can't use {closed}, and root can: run the check as root" in said.err


def test_a_reader_who_has_seen_enough_is_no_fault(
    tmp_path: Path, homeserver: dict[str, Any]
) -> None:
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            '"$0" -P -m lalepass_provider.check --offline "$1" | head -n 1; true',
            *(sys.executable, write(tmp_path, homeserver)),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.startswith("ok  ")
    assert done.stderr == ""


def test_no_secret_is_ever_shown(
    tmp_path: Path, homeserver: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    options = homeserver["modules"][0]["config"]
    for change in (
        {},
        {"token": TOKEN},
        {"token": f"{TOKEN} "},
        {"tokn": TOKEN},
        {"url": f"https://user:{TOKEN}@auth.example.org"},
    ):
        for as_json in ([], ["--json"]):
            entry = {**homeserver["modules"][0], "config": {**options, **change}}
            homeserver["modules"] = [entry]
            homeserver["password_config"] = {"pepper": TOKEN, "localdb_enabled": True}
            main([*as_json, write(tmp_path, homeserver)])
    said = capsys.readouterr()

    assert "Synapse will not start" in said.out
    # Without the ends of lines, which it could be broken at.
    assert TOKEN not in "".join(f"{said.out} {said.err}".split())
