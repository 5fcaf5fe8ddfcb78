"""`lalepass topology check` with the topology.toml of the stack, on processes for containers."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from lalepass_service.topology import look
from lalepass_service.topology.finding import Finding
from lalepass_service.topology.plan import Plan, load
from tests.e2e.scale.deployed import DEPLOY, MAIN, WORKERS
from tests.e2e.scale.site import BUCKET, Chat
from tests.servers.psql import ROLE
from tools.processes import LOOPBACK

pytestmark = pytest.mark.e2e

REPLICATION: Final = 9093
# What is not there: containers of other jobs, and what only they reach.
ABSENT: Final = frozenset({"prometheus", "scale-renew", "media-cleaner"})


def places(site: Chat) -> dict[str, int]:
    """Return the port of each part."""
    listeners = {f"{name}-replication": (name, REPLICATION) for name in (MAIN, "media")}
    return {
        "proxy": site.proxy.port,
        "objects": site.objects.port,
        "replication": site.valkeys["redis"].port,
        "counters": site.valkeys["counters"].port,
        **{f"synapse-{name}": site.synapse[name].port for name in (MAIN, *WORKERS)},
        **{name: site.deployed.port(*where) for name, where in listeners.items()},
        **{f"postgres-{n}": server.port for n, server in enumerate(site.pair.both, 1)},
        **{f"lalepass-{n}": each.port for n, each in enumerate(site.lalepass.replicas, 1)},
    }


def plan(site: Chat, folder: Path) -> Plan:
    """Return the plan of the stack, with addresses and secrets of these processes."""
    read = tomllib.loads((DEPLOY / "scale" / "topology.toml").read_text(encoding="utf-8"))
    ports = places(site)
    lines: list[str] = []
    for name, part in read["parts"].items():
        # These have doors of which nobody else knows.
        if name not in ABSENT and not name.endswith("-metrics"):
            # All of them are on one machine, without TLS.
            here = {"address": f"{LOOPBACK}:{ports[name]}", "tls": False} if name in ports else {}
            lines += [f"[parts.{name}]", *options(part | here)]
    for rule in read["reach"]:
        rule["from"] = [name for name in rule["from"] if name not in ABSENT]
        # A role that looks after both, which is the stack's own.
        if rule["from"] and rule.get("user") != "lookout":
            lines += ["[[reach]]", *options(moved(site, rule))]
    for route in read["route"]:
        lines += ["[[route]]", *options(route)]
    path = folder / "topology.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return load(path)


def moved(site: Chat, rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule with the paths of the secrets of this site."""
    config = tomllib.loads(site.lalepass.config.read_text(encoding="utf-8"))
    own = {
        "/secrets/lalepass/database-password": config["database"]["password_path"],
        "/secrets/lalepass/counters-password": config["valkey"]["password_path"],
        "/secrets/objects/credentials": str(site.directory / "s3-credentials"),
    }
    kept = {
        name: own.get(value) or str(site.deployed.place(value)) if "_path" in name else value
        for name, value in rule.items()
        if name not in {"ca_path", "certificate_path", "key_path"}
    }
    if kept.get("database") == "lalepass":
        (name,) = re.findall(r"/(\w+)\?", config["database"]["url"])
        kept |= {"user": ROLE, "database": name}
    if "counters" in kept["to"]:
        del kept["user"]
    return kept


def options(table: dict[str, Any]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in table.items()]


def amiss(findings: list[Finding]) -> list[tuple[str, str]]:
    """Return what is not ok, but for what one machine can't keep apart, and has no password for."""
    return [
        (each.part, each.says)
        for each in findings
        if each.severity != "ok" and each.about != "closed"
    ]


def test_every_part_is_what_it_should_be_for_those_who_need_it(site: Chat, tmp_path: Path) -> None:
    site.wait_until_well()
    read = plan(site, tmp_path)

    for name in ("proxy", "synapse-main", "synapse-media", "lalepass-1", "lalepass-2"):
        assert amiss(look.from_part(read, name, also={}, seconds=60)) == [], name
    seen = look.from_part(read, "synapse-media", also={}, seconds=60)
    says = {each.part: each.says for each in seen}
    assert says["objects"].startswith(f"{BUCKET}: put, read and deleted ")
    assert says["postgres"].endswith(" is the only primary")


def test_every_path_leads_to_the_process_that_is_to_answer_it(site: Chat, tmp_path: Path) -> None:
    site.wait_until_well()
    read = plan(site, tmp_path)
    found = look.from_part(read, "clients", also={}, seconds=60)

    assert amiss(found) == []
    routes = [each for each in found if each.about == "route"]
    assert len(routes) == len(read.routes) > 10


def test_a_worker_that_is_lost_is_named(site: Chat, tmp_path: Path) -> None:
    read = plan(site, tmp_path)
    lost = site.synapse["media"]
    lost.kill()
    try:
        found = look.from_part(read, "proxy", also={}, seconds=60)
    finally:
        lost.start()
    site.wait_until_well()

    assert amiss(found) == [("synapse-media", f"{LOOPBACK}:{lost.port} refuses connections")]
