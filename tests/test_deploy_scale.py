"""What stands several times in the profile `scale` is the same everywhere."""

import os
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from lalepass_service.topology.parts import Job
from lalepass_service.topology.plan import load
from tests.servers.test_routes import ROUTES

ROOT = Path(__file__).parent.parent
PLAN = load(ROOT / "deploy" / "scale" / "topology.toml")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = {
    name: service
    for name, service in COMPOSE["services"].items()
    # One-shots are gone before anybody looks.
    if "scale" in service.get("profiles", ()) and service.get("restart") != "no"
}
# Further listeners of containers, and who is none.
LISTENERS = {
    **{f"{name}-replication": f"synapse-{name}" for name in ("main", "media")},
    **{
        f"{name}-metrics": f"synapse-{name}"
        for name in ("main", "generic-1", "generic-2", "media", "sender", "background")
    },
    "proxy-metrics": "proxy",
}
OUTSIDE = {"clients"}


def test_the_topology_has_every_container() -> None:
    assert set(PLAN.parts) - LISTENERS.keys() - OUTSIDE == set(SERVICES)


@pytest.mark.parametrize("part", PLAN.parts)
def test_its_segments_are_the_networks_of_the_container(part: str) -> None:
    service = SERVICES.get(LISTENERS.get(part, part), {"networks": ["front"]})

    assert PLAN.parts[part].segments == service.get("networks", [])


def test_each_part_is_where_its_container_is() -> None:
    places = {name: part.place.host for name, part in PLAN.listening.items()}

    assert places == {name: LISTENERS.get(name, name) for name in places}


def test_only_the_proxy_and_prometheus_are_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {
        "proxy": ["${SYNAPSE_ADDRESS:-127.0.0.1}:${SYNAPSE_PORT:-8008}:8008"],
        "prometheus": ["${METRICS_ADDRESS:-127.0.0.1}:${METRICS_PORT:-9090}:9090"],
    }


def test_prometheus_asks_everything_that_tells_figures() -> None:
    path = ROOT / "deploy" / "scale" / "prometheus" / "prometheus.yml"
    targets = {
        static["labels"]["part"]: static["targets"]
        for job in yaml.safe_load(path.read_text())["scrape_configs"]
        for static in job["static_configs"]
    }
    told = {
        LISTENERS.get(name, name): [str(PLAN.listening[name].place)]
        for name in PLAN.reached_from("prometheus")
    }

    assert targets == told | {"prometheus": ["localhost:9090"]}
    assert len(targets) == 11


def test_who_meets_without_having_to_is_written_down_with_the_reason() -> None:
    meet = {
        (name, other)
        for name in PLAN.parts.keys() - LISTENERS.keys()
        for other in PLAN.closed_to(name)
        if PLAN.shared(name, other)
    }
    known = {pair for pair in meet if PLAN.known_open(*pair)}

    assert meet - known == set()
    # Nobody is let in that nobody would miss: these are closed by networks of their own.
    for name, other in (
        ("media-cleaner", "synapse-main"),
        ("media-cleaner", "main-metrics"),
        ("synapse-media", "media-cleaner"),
        ("proxy", "synapse-sender"),
        ("proxy", "background-metrics"),
        ("clients", "synapse-main"),
        ("objects", "postgres-1"),
        ("counters", "synapse-main"),
    ):
        assert other in PLAN.closed_to(name)
        assert (name, other) not in meet


def test_each_reason_is_of_use() -> None:
    read = tomllib.loads((ROOT / "deploy" / "scale" / "topology.toml").read_text())
    used = {
        PLAN.known_open(name, other)
        for name in PLAN.parts.keys() - LISTENERS.keys()
        for other in PLAN.closed_to(name)
    }

    assert {rule["because"] for rule in read["open"]} <= used


def test_paths_lead_where_the_proxy_is_tested_to_lead_them() -> None:
    known = {(method, path): {f"synapse-{each}" for each in to} for method, path, to in ROUTES}
    same = [
        (route.method, route.path)
        for route, wanted in PLAN.routes
        if known.get((route.method, route.path), wanted) == wanted
    ]

    assert len(same) == len(PLAN.routes)
    assert not any(isinstance(PLAN.parts[to], Job) for _, wanted in PLAN.routes for to in wanted)


SAID = """ok    one: is well,
      as it should be
note  open: three, which nobody needs:
      it is known
WARN  two: is not
      -> mend it

0 wrong, 1 warnings
"""
# An engine in which every container runs but `counters`; what it runs says SAID.
DOCKER = """#!/bin/sh
case "$*" in
    *service=counters*) ;;
    "ps --quiet"*) echo "$*" | sed 's/.*service=/id-of-/; s/ .*//' ;;
    *NetworkSettings*) echo 10.0.0.7 ;;
    *Config.User*) echo 991:991 ;;
    *GroupAdd*) echo --group-add=8220 ;;
    "inspect --format {{.Image}}"*) echo sha256:of-lalepass ;;
    "image inspect"*) ;;
    run*)
        echo "$*" >> "$CALLS"
        printf '%s' "$SAID"
        exit "$CODE"
        ;;
esac
"""


def looked(
    folder: Path, text: str, *, code: int, parts: Sequence[str] = ()
) -> tuple[int, str, str]:
    """Run check.sh; return its exit code, what it says, and what it has asked the engine to run."""
    engine, file, calls = folder / "docker", folder / "topology.toml", folder / "calls"
    engine.write_text(DOCKER)
    engine.chmod(0o755)
    file.write_text(text)
    calls.write_text("")
    done = subprocess.run(
        [ROOT / "deploy" / "scale" / "check.sh", *parts],
        env=os.environ
        | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "TOPOLOGY": str(file),
            "CALLS": str(calls),
            "CODE": str(code),
            "SAID": SAID,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, calls.read_text()


FILE = (ROOT / "deploy" / "scale" / "topology.toml").read_text()


def test_the_check_looks_from_every_container_with_its_rights(tmp_path: Path) -> None:
    code, said, calls = looked(tmp_path, FILE, code=0)

    looks = {line.partition("--from ")[2].split()[0]: line for line in calls.splitlines()}
    assert set(looks) == set(PLAN.parts) - LISTENERS.keys() - {"counters"}
    assert "--network lalepass_front " in looks["clients"]
    look = looks["synapse-media"]
    for words in (
        *("--network container:id-of-synapse-media", "--volumes-from id-of-synapse-media:ro"),
        *("--user 991:991", "--group-add=8220", "--cap-drop ALL", "--read-only"),
        # Each of its ports, wherever its name is not known.
        *("--also main-replication=10.0.0.7", "--also proxy-metrics=10.0.0.7"),
        *("--also postgres-1=10.0.0.7", " sha256:of-lalepass topology check"),
    ):
        assert words in look
    # What is away is said; the rest is one line each.
    assert code == 2
    assert "FAIL  counters: no container of it runs" in said
    assert "ok    from proxy: 0 wrong, 1 warnings" in said


def test_what_is_not_well_is_shown_and_the_rest_is_not(tmp_path: Path) -> None:
    code, said, _ = looked(tmp_path, FILE, code=1, parts=["proxy"])

    assert code == 1
    assert said == "\nfrom proxy:\nWARN  two: is not\n      -> mend it\n\n0 wrong, 1 warnings\n"


@pytest.mark.parametrize(("code", "worst"), [(0, 0), (1, 1), (2, 2), (3, 3), (70, 3), (124, 3)])
def test_it_ends_with_the_worst(tmp_path: Path, code: int, worst: int) -> None:
    assert looked(tmp_path, FILE, code=code, parts=["proxy", "clients"])[0] == worst


def test_a_part_that_is_elsewhere_is_no_container(tmp_path: Path) -> None:
    text = FILE.replace('"objects:8080"', '"s3.eu-central-1.amazonaws.com:443"')
    assert text != FILE
    _, _, calls = looked(tmp_path, text, code=0)

    assert "--from objects " not in calls
    assert "--from synapse-media " in calls
