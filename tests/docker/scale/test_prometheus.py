"""Prometheus gets the figures of all parts, and every query of the pages returns some."""

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.docker.people import ALICE
from tests.docker.scale.test_losses import away
from tests.docker.stack import ROOT, Stack, docker
from tests.test_docs_monitoring import RULES, queries
from tools.web import request

IMAGE = "prom/prometheus:v2.53.3"
_ALERTS = {rule["expr"] for rule in RULES}
PAGES = [query for query in dict.fromkeys(queries()) if query not in _ALERTS]
SECONDS = 240


def ask(stack: Stack, path: str) -> Any:
    answer = request("GET", f"http://127.0.0.1:{published(stack)}{path}", timeout=20)
    assert answer.status == 200, answer.body
    document: Any = answer.json()
    return document["data"]


def published(stack: Stack) -> int:
    return int(stack.compose("port", "prometheus", "9090").strip().rpartition(":")[2])


def found(stack: Stack, query: str) -> list[Any]:
    """Return what a query finds now, but for figures that are none."""
    result = ask(stack, f"/api/v1/query?query={quote(query)}")["result"]
    return [each for each in result if each["value"][1] != "NaN"]


@pytest.fixture(scope="module")
def used(scale: Stack) -> Stack:
    """The stack, when people have logged in through both generic workers, and one has failed."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert scale.login("alice", ALICE).status == 200
        assert scale.login("alice", "a wrong one").status in {403, 429}
        if found(scale, "sum(rate(lalepass_checks_total[5m])) > 0"):
            return scale
        time.sleep(5)  # noqa: TID251 - the fact is in another container
    raise AssertionError("no login is seen in the figures")


def test_it_gets_the_figures_of_all_parts(used: Stack) -> None:
    end = time.monotonic() + SECONDS
    while True:
        targets = ask(used, "/api/v1/targets?state=active")["activeTargets"]
        silent = [each for each in targets if each["health"] != "up"]
        down = {each["labels"]["part"]: each["lastError"] for each in silent}
        if not down or time.monotonic() > end:
            break
        time.sleep(5)  # noqa: TID251 - the fact is in another container
    assert down == {}
    assert len(targets) == 11


@pytest.mark.parametrize("query", PAGES)
def test_every_query_of_the_pages_finds_something(used: Stack, query: str) -> None:
    if query.startswith("ALERTS{"):
        # None fires where all is well: that it can be asked is all.
        found(used, query)
        return
    end = time.monotonic() + SECONDS
    while not found(used, query):
        assert time.monotonic() < end, f"{query} finds nothing"
        # For a quantile there has to be a login within the last five minutes.
        used.login("alice", ALICE)
        time.sleep(3)  # noqa: TID251 - the fact is in another container


HEARS = "synapse_replication_tcp_resource_total_connections"


def wait_until_all(stack: Stack, query: str) -> None:
    """Wait until it finds something of each of Synapse's six processes."""
    end = time.monotonic() + SECONDS
    while len(parts := {each["metric"]["part"] for each in found(stack, query)}) != 6:
        assert time.monotonic() < end, (query, parts)
        time.sleep(3)  # noqa: TID251 - the fact is in another container


def test_each_process_of_synapse_says_whether_it_hears_of_the_others(used: Stack) -> None:
    wait_until_all(used, f"{HEARS} > 0")
    with away(used, ("replication",)):
        wait_until_all(used, f"{HEARS} == 0")
    wait_until_all(used, f"{HEARS} > 0")


def test_all_alerts_are_known_and_can_be_asked(used: Stack) -> None:
    groups = ask(used, "/api/v1/rules")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}

    assert set(rules) == {rule["alert"] for rule in RULES}
    assert {name: rule.get("lastError", "") for name, rule in rules.items()} == dict.fromkeys(
        rules, ""
    )


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    folder = ROOT / "deploy" / "scale" / "prometheus"
    rules = ROOT / "tests" / "docker" / "scale" / "alerts.yml"
    said = docker(
        *("run", "--rm", "--network", "none", "--entrypoint", "promtool"),
        *("--volume", f"{folder}:/etc/prometheus:ro", "--volume", f"{rules}:/alerts.yml:ro"),
        *(IMAGE, "test", "rules", "/alerts.yml"),
        errors=True,
    )

    assert "SUCCESS" in said
    docker(
        *("run", "--rm", "--network", "none", "--entrypoint", "promtool"),
        *("--volume", f"{folder}:/etc/prometheus:ro"),
        *(IMAGE, "check", "rules", "--lint=all", "--lint-fatal", "/etc/prometheus/alerts.yml"),
    )


def test_its_own_page_shows_the_figures(used: Stack) -> None:
    url = f"http://127.0.0.1:{published(used)}/consoles/lalepass.html"
    answer = request("GET", url, timeout=30)
    page = answer.body.decode()

    assert answer.status == 200, page
    for name in ("lalepass-1", "synapse-generic-2", "generic-1", "accepted", "Memory"):
        assert f"<td>{name}</td>" in page or f"<th>{name}</th>" in page
    assert "<script" not in page
    # No figure is missing.
    assert page.count("nothing yet") == 0


def test_it_is_reached_from_this_machine_only(scale: Stack) -> None:
    ports = scale.inspect("prometheus")["NetworkSettings"]["Ports"]["9090/tcp"]

    assert {binding["HostIp"] for binding in ports} == {"127.0.0.1"}


def test_no_figure_has_a_name_of_somebody(used: Stack) -> None:
    series = ask(used, "/api/v1/series?match[]=" + quote('{__name__=~"lalepass_.*"}'))
    assert series
    assert "alice" not in json.dumps(series)
