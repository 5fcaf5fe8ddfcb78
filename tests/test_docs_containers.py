"""What docs/containers.md says of a part that moves is what deploy/ has."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PARTS = {
    name: service
    for name, service in COMPOSE["services"].items()
    if "scale" in service.get("profiles", ()) and service.get("restart") != "no"
}
ONCE = {
    name
    for name, service in COMPOSE["services"].items()
    if "scale" in service.get("profiles", ()) and service.get("restart") == "no"
}
# Where addresses are; that of topology.toml is said once for all.
FILES = (
    *("synapse/scale.yaml", "synapse/homeserver.yaml", "lalepass/scale.toml"),
    *("scale/haproxy.cfg", "scale/prometheus/prometheus.yml", "objects/serve.py"),
    *(f"synapse/workers/{name}.yaml" for name in ("generic-1", "generic-2", "media", "sender")),
)
SECTION = PAGE.partition("### When a part moves to another machine\n")[2].partition("\n### ")[0]


def rows() -> dict[str, list[str]]:
    """The cells of each part of the table."""
    found: dict[str, list[str]] = {}
    for line in SECTION.splitlines():
        if line.startswith("| `"):
            first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            for name in re.findall(r"`([^`]+)`", first):
                assert name not in found
                found[name] = cells
    return found


def where(part: str) -> set[str]:
    """The files that say how this part is reached."""
    before = r"host: |://|[@,]|presetenv \w+ +|targets: \[\""
    address = re.compile(rf"(?:{before}){part}(?![\w-])")
    return {
        name
        for name in FILES
        for line in (DEPLOY / name).read_text(encoding="utf-8").splitlines()
        # What serves the profile small alone has the others' names.
        if not line.lstrip().startswith("#") and address.search(line)
    }


def test_it_has_every_part_and_names_those_that_do_not_move() -> None:
    assert rows().keys() == PARTS.keys()
    assert {name for name in ONCE if f"`{name}`" in SECTION} == ONCE


@pytest.mark.parametrize("part", PARTS)
def test_it_names_every_file_with_the_address_of_the_part(part: str) -> None:
    said = rows()[part][0]
    shown = set(re.findall(r"`((?:\w+/)?[\w-]+\.(?:yaml|toml|cfg|yml))`", said))

    wanted = {
        "haproxy.cfg" if name.endswith(".cfg") else name.removeprefix("scale/prometheus/")
        for name in where(part)
    }
    assert shown - {"docker-compose.yml"} == wanted


def test_what_is_only_in_docker_compose_is_named_too() -> None:
    both = {
        name: PARTS[name]["environment"]["OTHER"] for name in rows() if name.startswith("postgres-")
    }

    assert both == {"postgres-1": "postgres-2", "postgres-2": "postgres-1"}
    assert "`docker-compose.yml` (`OTHER`" in rows()["postgres-1"][0]
    assert COMPOSE["x-storage"]["AWS_ENDPOINT_URL_S3"] == "${S3_ENDPOINT:-http://objects:8080}"
    assert rows()["objects"][0] == "`.env` (`S3_ENDPOINT`)"


@pytest.mark.parametrize("part", PARTS)
def test_it_names_every_volume_of_the_part(part: str) -> None:
    cells = rows()[part][1]
    if cells in {"the same", "as `synapse-main`"}:
        cells = rows()["synapse-main"][1]
    elif cells.startswith("the same, "):
        cells += rows()["synapse-main"][1]
    used = {
        re.sub(r"^\$\{\w+:-([\w-]+)\}", r"\1", each).partition(":")[0]
        for each in PARTS[part].get("volumes", ())
        if not each.startswith(".")
    }

    if part == "scale-renew":
        # The authority's, and the secrets of all.
        assert "authority" in used
        return
    if part.startswith("postgres-"):
        assert used & {"database", "database-2"}
    for name in used:
        assert f"`{name}`" in cells, name
    if not part.startswith("postgres-"):
        assert set(re.findall(r"`([\w-]+)`", cells)) == used


def test_the_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-")
        for each in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }

    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings


COMMANDS = sorted(
    set(re.findall(r"docker compose (?:exec|run) ((?:--entrypoint \S+ |-\S+ )*[\w-]+)", PAGE))
)


@pytest.mark.parametrize("words", COMMANDS)
def test_what_it_types_is_for_a_container_that_there_is(words: str) -> None:
    assert words.rpartition(" ")[2] in COMPOSE["services"]


def test_the_profile_scale_has_commands_of_its_own_for_copies_and_upgrades() -> None:
    copies = PAGE.partition("### In the profile scale\n")[2].partition("\n## Upgrade\n")[0]
    upgrade = PAGE.partition("\nIn the profile `scale` tables come first")[2].partition("\n## ")[0]

    for part in (copies, upgrade):
        named = re.findall(r"^\(?.*docker compose (?:exec|run|up|stop) .*", part, re.MULTILINE)
        words = {word for line in named for word in re.findall(r"[\w-]+", line)}
        assert {"lalepass-1", "lalepass-2", "postgres-1"} <= words
        assert "lalepass-prepare" not in words
