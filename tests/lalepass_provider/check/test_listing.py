"""Where the module is listed, and what stands around it."""

import sys
from pathlib import Path
from typing import Any

import pytest

from lalepass_provider.check import listing
from lalepass_provider.check.finding import Severity
from tests.lalepass_provider.check.found import names, only

OURS = {"module": "lalepass_provider.LalepassProvider", "config": {}}


def look(**config: Any) -> list[Any]:
    return list(listing.look(config))


def test_once_under_modules_is_right() -> None:
    assert names(look(modules=[OURS])) == []
    assert only(look(modules=[OURS]), "listed").option == "modules[0]"


def test_the_file_itself_may_be_named() -> None:
    entry = {"module": "lalepass_provider.module.LalepassProvider"}

    assert names(look(modules=[entry])) == []


def test_the_older_place_works_and_the_newer_one_is_named() -> None:
    found = only(look(password_providers=[OURS]), "listed")

    assert found.severity is Severity.OK
    assert found.fix is not None


@pytest.mark.parametrize("config", [{}, {"modules": []}, {"modules": None}], ids=str)
def test_a_module_that_is_not_listed_is_missed(config: dict[str, Any]) -> None:
    assert names(look(**config)) == ["not-listed"]


@pytest.mark.parametrize(
    "module",
    [
        "lalepass_provider.LalepassProvder",
        "lalepass.LalepassProvider",
        "lalepass_provider",
        "LalepassProvider",
        "lalepas_provider.LalepasProvider",
        "Lalepass_Provider.lalepassprovider",
        "lalepass-provider.LalepassProvider",
    ],
)
def test_a_misspelt_one_is_told_from_none(module: str) -> None:
    assert names(look(modules=[{"module": module}])) == ["misspelt", "not-listed"]


@pytest.mark.parametrize(
    "config",
    [
        {"modules": [OURS, OURS]},
        {"modules": [OURS], "password_providers": [OURS]},
    ],
    ids=["twice", "both places"],
)
def test_twice_is_once_too_often(config: dict[str, Any]) -> None:
    assert names(look(**config)) == ["listed-twice"]


@pytest.mark.parametrize("entry", [None, "lalepass_provider.LalepassProvider", {}, {"module": 7}])
def test_an_entry_without_a_module_is_found(entry: object) -> None:
    found = look(modules=[OURS, entry])

    assert names(found) == ["no-module"]
    assert only(found, "no-module").option == "modules[1].module"


@pytest.mark.parametrize("value", ["lalepass_provider.LalepassProvider", OURS, 7])
def test_a_list_that_is_none_is_found(value: object) -> None:
    assert names(look(modules=value)) == ["no-list", "not-listed"]


REGISTERS = "def setup(api):\n    api.register_password_auth_provider_callbacks()\n"
LEGACY = "class A:\n    async def check_password(self, user, password):\n        pass\n"
HARMLESS = "raise SystemExit('nobody runs this')\n"


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that are installed beside ours; running any of them would end the test."""
    for name, text in (("registers", REGISTERS), ("legacy", LEGACY), ("harmless", "")):
        (tmp_path / f"other_{name}.py").write_text(HARMLESS + text)
    package = tmp_path / "other_package"
    package.mkdir()
    (package / "__init__.py").write_text(HARMLESS)
    (package / "inner.py").write_text(REGISTERS)
    monkeypatch.syspath_prepend(tmp_path)


def other(name: str) -> dict[str, str]:
    return {"module": f"other_{name}.A"}


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("name", ["registers", "package.inner"])
def test_a_password_module_before_ours_sees_every_password(name: str) -> None:
    """S1: in the order of the configuration, and each password goes to the first."""
    assert names(look(modules=[other(name), OURS])) == ["module-before"]
    assert only(look(modules=[OURS, other(name)]), "module-behind").severity is Severity.OK
    below = only(look(modules=[OURS], password_providers=[other(name)]), "module-behind")
    assert below.option == "password_providers[0]"


@pytest.mark.usefixtures("others")
def test_all_of_modules_come_before_password_providers() -> None:
    found = look(password_providers=[OURS, other("legacy")], modules=[other("registers")])

    assert only(found, "module-before").option == "modules[0]"
    assert only(found, "module-behind").option == "password_providers[1]"


@pytest.mark.usefixtures("others")
def test_an_older_one_in_the_newer_list_does_nothing() -> None:
    """S12: it loads without an error and registers nothing."""
    assert names(look(modules=[other("legacy"), OURS])) == ["inert-module"]
    assert names(look(modules=[OURS], password_providers=[other("legacy")])) == []


@pytest.mark.usefixtures("others")
def test_other_kinds_of_modules_are_none_of_our_business() -> None:
    known = look(modules=[other("harmless"), {"module": "not.installed.At.All"}, OURS])

    assert [finding.name for finding in known] == ["listed"]
    assert not [name for name in sys.modules if name.startswith("other_")]
