"""What docs/topology.md says is what `lalepass topology check` does."""

import re
from pathlib import Path

import pytest

from lalepass_service.topology.parts import KINDS
from lalepass_service.topology.plan import Login, Route, load

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "topology.md").read_text(encoding="utf-8")
SOURCES = [
    source.read_text(encoding="utf-8")
    for source in (ROOT / "service" / "lalepass_service" / "topology").glob("*.py")
]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column is called so."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_its_example_loads(tmp_path: Path) -> None:
    text, known = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "topology.toml"
    path.write_text(f"{text}\n{known}")
    plan = load(path)

    assert set(plan.reached_from("synapse-main")) == {
        *("db-1", "db-2", "lalepass-1", "lalepass-2", "media", "main-replication", "redis"),
    }
    # Whoever gets in there is the homeserver: docs/scaling.md.
    for part in ("main-replication", "redis"):
        assert part in plan.closed_to("proxy")
    assert set(plan.closed_to("clients")) == set(plan.listening) - {"proxy"}
    assert len(plan.routes) == 2
    assert plan.known_open("lalepass-1", "synapse-main") is not None


def test_it_has_every_kind_with_its_options() -> None:
    shown = {
        cells[0].strip("`"): set(re.findall(r"`(\w+)(?: = false)?`", cells[2]))
        for cells in rows("kind")
    }
    everywhere = {"kind", "address", "tls", "segments"}
    real = {kind: set(model.model_fields) - everywhere for kind, model in KINDS.items()}

    assert shown == real


def test_it_has_every_option_of_reach_and_of_a_route() -> None:
    shown = {name for cells in rows("option") for name in re.findall(r"`(\w+)`", cells[0])}

    assert shown == set(Login.model_fields)
    for option in Route.model_fields:
        assert f"`{option}`" in PAGE.partition("**Route**")[2]


def test_it_has_everything_that_can_be_found() -> None:
    shown = {cells[0].strip("`"): cells[1:] for cells in rows("`about`")}
    real = {
        about
        for text in SOURCES
        for about in [
            *re.findall(r"\b(?:fail|warn)\(\s*[\w.]+,\s*\"([a-z-]+)\"", text),
            *re.findall(r"about=\"([a-z-]+)\"", text),
            *re.findall(r"about: str = \"([a-z-]+)\"", text),
        ]
    }

    assert set(shown) == real


@pytest.mark.parametrize(("severity", "column"), [("fail", 0), ("warn", 1)])
def test_it_says_how_bad_each_is(severity: str, column: int) -> None:
    shown = {cells[0].strip("`") for cells in rows("`about`") if cells[1 + column]}
    named = {
        about
        for text in SOURCES
        for about in re.findall(rf"\b{severity}\(\s*[\w.]+,\s*\"([a-z-]+)\"", text)
    }

    assert named <= shown
