"""What stands several times in the profile `scale` is the same everywhere."""

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
# Listeners of others, and who is no container.
LISTENERS = {"main-replication": "synapse-main", "media-replication": "synapse-media"}
OUTSIDE = {"clients"}


def test_the_topology_has_every_container() -> None:
    assert set(PLAN.parts) - LISTENERS.keys() - OUTSIDE == set(SERVICES)


@pytest.mark.parametrize("part", PLAN.parts)
def test_its_segments_are_the_networks_of_the_container(part: str) -> None:
    service = SERVICES.get(LISTENERS.get(part, part), {"networks": ["outside"]})

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
    tell = {
        name: f"{name}:{port}"
        for name, part in PLAN.parts.items()
        for kind, port in (("synapse", 9000), ("lalepass", 8220), ("proxy", 8405))
        if part.kind == kind and name not in LISTENERS
    }

    assert targets == {name: [place] for name, place in tell.items()} | {
        "prometheus": ["localhost:9090"]
    }


def test_paths_lead_where_the_proxy_is_tested_to_lead_them() -> None:
    known = {(method, path): {f"synapse-{each}" for each in to} for method, path, to in ROUTES}
    same = [
        (route.method, route.path)
        for route, wanted in PLAN.routes
        if known.get((route.method, route.path), wanted) == wanted
    ]

    assert len(same) == len(PLAN.routes)
    assert not any(isinstance(PLAN.parts[to], Job) for _, wanted in PLAN.routes for to in wanted)
