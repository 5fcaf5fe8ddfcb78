"""The module's own options, and the files that they name."""

from pathlib import Path
from typing import Any

import pytest

from lalepass_provider.check import options
from lalepass_provider.check.finding import Severity
from lalepass_provider.check.listing import OURS, Entry
from lalepass_provider.check.permissions import Account
from tests.certificates import Authority
from tests.lalepass_provider.check.found import names, only

TOKEN = "lalepass_0123456789ab_" + "x" * 43
GOOD = {"url": "https://auth.example.org", "token": TOKEN}
ME = Account.mine()


def entry(config: object) -> Entry:
    return Entry("modules", 2, OURS, config)


def test_right_options_are_understood() -> None:
    config, said = options.read(entry(GOOD))

    assert config is not None
    assert (said.severity, said.option) == (Severity.OK, "modules[2].config")


@pytest.mark.parametrize(
    ("config", "option"),
    [
        ({**GOOD, "tiemout": 5}, "modules[2].config.tiemout"),
        ({**GOOD, "timeout": "5s"}, "modules[2].config.timeout"),
        ({**GOOD, "local_users": ["bot-*", 7]}, "modules[2].config.local_users[1]"),
        ({**GOOD, "profile": {"name": "always"}}, "modules[2].config.profile.name"),
        ({**GOOD, "tls": {"ca_path": "/nowhere/ca"}}, "modules[2].config.tls.ca_path"),
        ({"url": GOOD["url"], "token_path": "/nowhere"}, "modules[2].config.token_path"),
        ({}, "modules[2].config"),
        (None, "modules[2].config"),
        ([GOOD], "modules[2].config"),
        ("url", "modules[2].config"),
    ],
    ids=str,
)
def test_a_wrong_one_is_named_by_its_path_and_never_shown(config: object, option: str) -> None:
    understood, said = options.read(entry(config))

    assert understood is None
    assert (said.severity, said.option) == (Severity.ERROR, option)
    assert TOKEN not in repr(said)


@pytest.mark.parametrize(
    ("option", "end"),
    [("unavailabel", "no such option; is it unavailable?"), ("xyzzy", "no such option.")],
)
def test_what_is_said_ends_once(option: str, end: str) -> None:
    _, said = options.read(entry({**GOOD, option: 1}))

    assert said.says == f"Synapse will not start: there is {end}"


def look(config: dict[str, Any], *, stands_in: Path | None = None) -> list[Any]:
    return list(options.look_at_files(entry(config), reader=ME, stands_in=stands_in))


def test_each_file_that_is_named_is_looked_at(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("token", "ca", "certificate", "key")}
    for path in paths.values():
        path.write_text("x")
        path.chmod(0o600)
    tls = {f"{name}_path": str(paths[name]) for name in ("ca", "certificate", "key")}
    found = look({"token_path": str(paths["token"]), "tls": tls})

    assert names(found) == []
    assert {finding.option for finding in found} == {
        "modules[2].config.token_path",
        *(f"modules[2].config.tls.{name}" for name in tls),
    }


def test_a_file_is_looked_at_although_the_options_are_wrong(tmp_path: Path) -> None:
    found = look({"token_path": str(tmp_path / "none"), "colour": "red"})

    assert names(found) == ["unreadable-file"]


def test_a_token_in_the_configuration_makes_that_a_secret(passable: Path) -> None:
    path = passable / "homeserver.yaml"
    path.write_text("x")
    path.chmod(0o644)

    found = only(look(GOOD, stands_in=path), "exposed-file")
    assert found.option == "modules[2].config.token"
    path.chmod(0o640)
    assert names(look(GOOD, stands_in=path)) == []


def test_a_relative_path_depends_on_who_starts_synapse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("x")
    (tmp_path / "token").chmod(0o600)
    monkeypatch.chdir(tmp_path)

    assert names(look({"token_path": "token"})) == ["relative-path"]


@pytest.mark.parametrize("config", [None, [], "x", {"tls": 7}, {"token_path": 7}], ids=str)
def test_odd_options_name_no_files(config: Any) -> None:
    assert look(config) == []


def test_plain_http_through_a_network_has_a_price() -> None:
    config, _ = options.read(
        entry({"url": "http://auth.example.org", "token": TOKEN, "allow_plaintext": True})
    )
    assert config is not None

    assert names(options.look_at_plaintext(config, option="o")) == ["plaintext"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"local_users": ["admin"]}, True),
        ({"local_users": []}, False),
        ({}, False),
        (None, False),
    ],
)
def test_break_glass_accounts_are_seen(config: object, *, expected: bool) -> None:
    assert options.has_local_users(entry(config)) is expected


def test_without_an_entry_there_are_none() -> None:
    assert not options.has_local_users(None)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"unavailable": "try_local"}, True),
        ({"unavailable": "error"}, False),
        ({"unavailable": ["try_local"]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_what_becomes_of_an_outage_is_seen(config: object, *, expected: bool) -> None:
    assert options.tries_local(entry(config)) is expected
    assert not options.tries_local(None)


def test_a_certificate_of_a_client_is_read(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("hs.example").write(tmp_path, "client")
    tls = {
        "ca_path": str(authority.write(tmp_path)),
        "certificate_path": str(certificate),
        "key_path": str(key),
    }

    assert options.read(entry({**GOOD, "tls": tls}))[1].severity is Severity.OK


def test_where_the_module_keeps_its_state_synapse_has_to_write(tmp_path: Path) -> None:
    for folder, expected in ((tmp_path, []), (tmp_path / "none", ["unwritable-folder"])):
        assert names(look({"lifecycle": {"state_path": str(folder / "state")}})) == expected
