"""What docs/monitoring.md and the pages of figures say is what there is."""

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
SCALE = ROOT / "deploy" / "scale"
RULES = [
    rule
    for group in yaml.safe_load((SCALE / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
SOURCES = "".join(
    source.read_text(encoding="utf-8")
    for folder in ("service/lalepass_service", "lalepass_provider")
    for source in (ROOT / folder).rglob("*.py")
)


def queries() -> list[str]:
    dashboard = json.loads((SCALE / "grafana" / "lalepass.json").read_text())
    console = (SCALE / "prometheus" / "consoles" / "lalepass.html").read_text()
    return [
        *(rule["expr"] for rule in RULES),
        *(each["expr"] for panel in dashboard["panels"] for each in panel.get("targets", ())),
        *re.findall(r"`([^`]+)`", console),
    ]


def test_it_has_every_alert_with_its_severity_and_its_wait() -> None:
    shown = {
        tuple(row) for row in re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w ]+) \|", PAGE, re.MULTILINE)
    }
    waits = {"1m": "1 min", "2m": "2 min", "5m": "5 min", None: "at once"}

    assert shown == {
        (rule["alert"], rule["labels"]["severity"], waits[rule.get("for")]) for rule in RULES
    }


def test_every_alert_has_a_test() -> None:
    text = (ROOT / "tests" / "docker" / "scale" / "alerts.yml").read_text()
    groups = yaml.safe_load(text)["tests"]
    alerts = {rule["alert"] for rule in RULES}
    fires = {
        case["alertname"]
        for group in groups
        for case in group["alert_rule_test"]
        if case.get("exp_alerts")
    }

    assert fires == alerts
    assert {case["alertname"] for case in groups[0]["alert_rule_test"]} == alerts


def test_every_figure_of_ours_that_is_asked_for_is_told() -> None:
    asked = {name for query in queries() for name in re.findall(r"\blalepass_\w+", query)}
    parts = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in asked}

    def is_told(name: str) -> bool:
        # Some are put together: lalepass_hasher_ and what it is.
        stem, _, last = name.partition("lalepass_")[2].partition("_")
        made = f'f"lalepass_{stem}_{{name}}"' in SOURCES and f'"{last}"' in SOURCES
        return f'"{name}"' in SOURCES or made

    assert len(parts) > 15
    assert [name for name in sorted(parts) if not is_told(name)] == []
    cleaner = (ROOT / "deploy" / "synapse" / "media_cleaner.py").read_text()
    media = {name for query in queries() for name in re.findall(r"\bmedia_\w+", query)}
    assert len(media) == 2
    assert [name for name in sorted(media) if f'"{name}"' not in cleaner] == []


def test_dashboards_show_what_is_told_to_be_watched() -> None:
    text = " ".join(queries())
    for name in (
        *(
            "lalepass_checks_total",
            "lalepass_check_duration_seconds_bucket",
            "lalepass_hasher_shed",
        ),
        *("lalepass_hasher_busy", "lalepass_database_queued", "lalepass_replica_behind_bytes"),
        *("lalepass_valkey_up", "lalepass_provider_feed_age_seconds", "haproxy_server_status"),
        *('up{job="synapse"}', "synapse_threadpool_working_threads"),
    ):
        assert name in text


def test_the_links_lead_somewhere() -> None:
    for file, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", PAGE)):
        text = (ROOT / "docs" / file).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        assert not anchor or anchor in anchors


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads((SCALE / "grafana" / "lalepass.json").read_text())
    panels = dashboard["panels"]
    (source,) = [each for each in dashboard["templating"]["list"] if each["type"] == "datasource"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${" + source["name"] + "}"

    assert len({panel["id"] for panel in panels}) == len(panels) > 20


def test_what_grafana_is_provisioned_with_names_the_dashboard() -> None:
    (provider,) = yaml.safe_load((SCALE / "grafana" / "provisioning.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((SCALE / "grafana" / "datasource.yaml").read_text())["datasources"]

    assert provider["type"] == "file"
    assert source["type"] == "prometheus"
    for name in ("lalepass.json", "provisioning.yaml", "datasource.yaml"):
        assert f"`{name}`" in PAGE
        assert (SCALE / "grafana" / name).is_file()
