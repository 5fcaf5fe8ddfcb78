"""What the documents say is true of the code."""

import ast
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import pytest
import yaml
from pydantic import BaseModel

import lalepass_provider
import lalepass_service
from lalepass_provider.config import ProfileOptions, ProviderConfig
from lalepass_provider.policy import LinkExisting, Unavailable
from lalepass_service.cli import keys
from lalepass_service.config import Config
from lalepass_service.config.sections import Audit, Passwords, Throttle
from lalepass_service.core import audit, softlock, turned_away
from lalepass_service.http.counters import CountersCollector
from lalepass_wire import ErrorCode, RefusalReason

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
HOMESERVER = (ROOT / "docs" / "homeserver.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()


def fragment() -> str:
    """Return the part of homeserver.yaml that the README shows."""
    (found,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    return str(found)


def test_the_readme_shows_every_option_of_the_module() -> None:
    shown = set(re.findall(r"^      #?(\w+):", fragment(), re.MULTILINE))

    assert shown == set(ProviderConfig.model_fields)


def test_the_fragment_in_the_readme_loads() -> None:
    module = yaml.safe_load(fragment())["modules"][0]

    assert module["module"] == "lalepass_provider.LalepassProvider"
    assert ProviderConfig.model_validate(module["config"]).url == "https://auth.example.org"


def test_the_readme_shows_every_part_of_the_profile_with_its_default() -> None:
    commented = re.sub(r"^      #(\w+:|  \w+:)", r"      \1", fragment(), flags=re.MULTILINE)
    config = yaml.safe_load(commented.replace("#token:", "token:"))["modules"][0]["config"]

    assert ProfileOptions.model_validate(config["profile"]) == ProfileOptions()
    assert set(config["profile"]) == set(ProfileOptions.model_fields)
    assert config["unavailable"] == Unavailable.ERROR
    assert config["link_existing"] == LinkExisting.IF_NO_PASSWORD


def test_the_defaults_in_the_readme_are_those_of_the_code() -> None:
    shown = yaml.safe_load(re.sub(r"^      #(\w+:)", r"      \1", fragment(), flags=re.MULTILINE))
    options = shown["modules"][0]["config"]

    for name in ("timeout", "connect_timeout", "max_in_flight", "allow_plaintext"):
        assert options[name] == ProviderConfig.model_fields[name].default


@pytest.mark.parametrize("section", Config.model_fields)
def test_the_configuration_that_init_writes_shows_every_option(section: str) -> None:
    text = (ROOT / "service" / "lalepass_service" / "cli" / "lalepass.toml").read_text()
    (part,) = re.findall(rf"^\[{section}\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    annotation = Config.model_fields[section].annotation
    assert annotation is not None

    assert set(re.findall(r"^#?(\w+) = ", part, re.MULTILINE)) == set(annotation.model_fields)


def test_the_document_on_keys_names_the_commands_that_there_are() -> None:
    text = (ROOT / "docs" / "keys.md").read_text()
    named = set(re.findall(r"lalepass keys (\w+)", text))

    assert named == {
        command.callback.__name__ for command in keys.app.registered_commands if command.callback
    }


@pytest.mark.parametrize("name", [*ErrorCode, *RefusalReason])
def test_the_api_document_has_every_code_and_reason(name: str) -> None:
    assert f"| `{name}` |" in API


def test_the_api_document_has_no_code_that_is_not_in_the_contract() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", API, re.MULTILINE))

    assert rows == {*ErrorCode, *RefusalReason}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of docs/homeserver.md."""
    (part,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", HOMESERVER, re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^\| (.*) \|$", part, re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def options_of(model: type[BaseModel]) -> Iterator[tuple[str, object]]:
    """Yield every option with its default, and those inside of others."""
    for name, option in model.model_fields.items():
        if isinstance(option.default, BaseModel):
            inner = type(option.default)
            yield from ((f"{name}.{below}", default) for below, default in options_of(inner))
        else:
            yield name, option.default


def test_the_document_on_homeservers_has_every_option_with_its_default() -> None:
    shown = {cells[0].strip("`"): cells[1].strip("`") for cells in rows("Options")[1:]}
    real = {
        name: "" if default is None else json.dumps(default, default=str).strip('"')
        for name, default in options_of(ProviderConfig)
    }

    assert {
        name: "" if default in {"none", "the platform's", "|"} else default
        for name, default in shown.items()
    } == real


def test_it_has_everything_that_the_doctor_can_find() -> None:
    shown = {
        (cells[0].strip("`"), cells[1]) for cells in rows("The doctor") if cells[0].startswith("`")
    }
    sources = (ROOT / "lalepass_provider" / "check").glob("*.py")
    real = {
        (name, severity)
        for source in sources
        for severity, name in re.findall(
            r"\b(error|warning)\(\s*\"([a-z-]+)\"", source.read_text(encoding="utf-8")
        )
    }

    # Its severity depends on local_users.
    assert shown == real - {("two-passwords", "warning")}


def test_what_it_says_about_the_log_is_what_the_module_logs() -> None:
    texts = [
        node.value
        for source in (ROOT / "lalepass_provider").glob("*.py")
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    quoted = [row[0].strip("`") for row in rows("When something is wrong") if row[0][0] == "`"]
    ours = [line for line in quoted if "lalepass_provider" not in line]

    assert len(ours) > 10
    assert [line for line in ours if not any(line in text for text in texts)] == []


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def anchors(text: str) -> set[str]:
    """Return what a link may have behind its #."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_where_a_page_points_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))

    for file, _, anchor in (link.partition("#") for link in links if "://" not in link):
        there = page.parent / file if file else page
        assert there.exists(), file
        assert not anchor or anchor in anchors(there.read_text(encoding="utf-8")), anchor


def test_the_readme_has_the_way_to_each_page_once() -> None:
    part = README.partition("\n## Documentation\n")[2]
    named = re.findall(r"^\* \[([\w/.]+)\]\(", part, re.MULTILINE)

    assert sorted(named) == sorted(
        str(page.relative_to(ROOT)) for page in PAGES if page.name != "README.md"
    )


LESSONS = (ROOT / "docs" / "lessons.md").read_text()


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[\w/.]+::\w+)`", LESSONS))))
def test_the_tests_that_the_lessons_name_exist(named: str) -> None:
    path, _, name = named.partition("::")

    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_every_lesson_has_a_test_on_a_real_synapse() -> None:
    rows = re.findall(r"^\| (\d+)\. .*tests/e2e/", LESSONS, re.MULTILINE)

    assert rows == [str(number) for number in range(1, 11)]


FACTS = re.findall(r"^\| (S\d+b?): .*", LESSONS, re.MULTILINE)


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_about_synapse_is_named_by_a_test_of_its_row(fact: str) -> None:
    """Whoever sees the test fail after an upgrade of Synapse has to find what relied on it."""
    (row,) = re.findall(rf"^\| {fact}: .*", LESSONS, re.MULTILINE)
    named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", row)
    texts = [_text_of(ROOT / path, name) for path, name in named]

    assert any(re.search(rf"(\b|_){fact}(\b|_)", text, re.IGNORECASE) for text in texts)


def test_there_are_facts() -> None:
    assert {"S1", "S4b", "S18", "S20"} <= set(FACTS)


def _text_of(path: Path, name: str) -> str:
    """Return the name and the docstring of a test."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return f"{name} {ast.get_docstring(node)}"
    raise AssertionError(f"{path} has no {name}")


class _Counters:
    """Counters that count nothing."""

    up = True
    losses = emptied = fallbacks = conflicts = put_back = 0
    trips: tuple[tuple[tuple[float, int], ...], float] = (((inf, 0),), 0.0)


def test_the_document_on_valkey_has_every_figure_and_every_option() -> None:
    text = (ROOT / "docs" / "valkey.md").read_text()
    shown = {metric.name for metric in CountersCollector(_Counters()).collect()}

    named = set(re.findall(r"`(lalepass_valkey_[a-z_]+)`", text))
    assert {name.removesuffix("_total") for name in named} == shown
    for option in type(Config().valkey).model_fields:
        assert f"`{option}`" in text or f"{option} =" in text


GUESSING = (ROOT / "docs" / "guessing.md").read_text()


def test_the_waits_in_the_docs_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+)(?: to (\d+))? \| (none|\d+ s|\d+ h)", GUESSING, re.MULTILINE)
    seconds = {"none": 0, "1 s": 1, "3 s": 3, "5 s": 5, "10 s": 10, "30 s": 30, "1 h": 3600}

    told = {
        number: seconds[wait]
        for first, last, wait in rows
        for number in range(int(first), int(last or first) + 1)
    }
    assert set(range(1, softlock.STOP_AT)) - set(told) == set(range(26, 37))
    assert told == {number: softlock.seconds_after(number) for number in told}
    grown = [softlock.seconds_after(number) for number in range(25, 37)]
    assert [after / before for before, after in pairwise(grown)] == pytest.approx([1.5] * 11)
    waits = [softlock.seconds_after(number) for number in range(1, softlock.STOP_AT)]
    assert f"some {sum(waits) / 3600:.0f} hours" in GUESSING
    assert sum(waits[:24]) < 210  # "25 tries in three and a half minutes"


def test_the_numbers_about_guessing_are_those_of_the_code() -> None:
    for told in (
        f"| {softlock.STOP_AT} | closed |",
        f"The last {softlock.RING_SIZE} wrong passwords",
        f"within the last {softlock.KNOWN_FOR.days} days",
        f"the first {['no', 'one', 'two', 'three'][turned_away.FEW]} of an account in a minute",
        f"and {turned_away.MAX_FEW} of all accounts",
        f"**`{turned_away.NO_ANSWER}...`** is recorded in the same way",
        f"The first {audit.MAX_USER_AGENT} characters of a user agent are kept",
    ):
        assert told in GUESSING
    assert turned_away.MAX_ACCOUNTS == 1000  # "At most a thousand accounts"


def test_the_options_about_guessing_are_those_of_the_code() -> None:
    throttle, passwords, audit = Throttle(), Passwords(), Audit()
    table = re.findall(r"^\| `(\w+)` \| (\d+) \|", GUESSING, re.MULTILINE)

    assert {name: int(value) for name, value in table} == throttle.model_dump()
    shown = re.findall(r"`(?:\[passwords\] )?(\w+) = ([^`]+)`", GUESSING)
    assert {name: json.loads(value) for name, value in shown} == {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in (passwords.model_dump() | {"min_length": 15}).items()
    }
    # "15 where the password is all there is" is the one that is not the default.
    assert f"`[passwords] min_length = {passwords.min_length}`" in GUESSING
    assert f"`[audit] keep_days` ({audit.keep_days})" in GUESSING


@pytest.mark.parametrize("package", [lalepass_provider, lalepass_service])
def test_the_map_of_a_package_has_each_of_its_modules_once(package: ModuleType) -> None:
    _, _, text = str(package.__doc__).partition("Where to look:\n\n")
    lines = text.partition("\n\n")[0].splitlines()
    named = [name for line in lines for name in re.split(r" {2,}", line.strip())[1].split(", ")]

    known = {module.name for module in iter_modules(package.__path__)} - {"__main__"}
    assert sorted(named) == sorted(known)


def test_each_decision_is_in_the_index_once() -> None:
    decisions = (ROOT / "docs" / "decisions.md").read_text()
    index, _, records = decisions.partition("\n## ")
    rows = re.findall(r"^\|[^|]+\| ([\d, ]+) \|$", index, re.MULTILINE)
    listed = [int(number) for row in rows for number in row.split(", ")]
    made = [int(number) for number in re.findall(r"^## (\d+)\. ", f"## {records}", re.MULTILINE)]

    assert sorted(listed) == made == list(range(1, len(made) + 1))
