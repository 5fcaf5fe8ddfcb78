"""`lalepass topology check` sees real servers as they are, and as they are not."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lalepass_service.topology import look, postgres
from lalepass_service.topology.finding import Finding
from lalepass_service.topology.plan import load
from tests.servers.pair import Pair
from tests.servers.postgres import Database, Postgres
from tests.servers.psql import ROLE
from tests.servers.services import Services, services
from tests.servers.valkey import Valkey
from tools.files import write_private
from tools.processes import LOOPBACK

Told = dict[str, list[tuple[str, str, str]]]


def looked(tmp_path: Path, parts: Mapping[str, Mapping[str, Any]], **shown: object) -> Told:
    """Look at these parts, which are all to be reached; what is told of each."""
    lines = ["[parts.here]", 'kind = "job"']
    for name, options in parts.items():
        lines.append(f"[parts.{name}]")
        # A text of JSON is one of TOML.
        lines += [f"{option} = {json.dumps(value)}" for option, value in options.items()]
    lines += ["[[reach]]", 'from = ["here"]', f"to = {json.dumps(list(parts))}"]
    lines += [f"{option} = {json.dumps(str(value))}" for option, value in shown.items()]
    path = tmp_path / "topology.toml"
    path.write_text("\n".join(lines))
    told: Told = {}
    for each in look.from_part(load(path), "here", also={}):
        told.setdefault(each.part, []).append(_told(each))
    return told


def _told(finding: Finding) -> tuple[str, str, str]:
    return str(finding.severity), finding.about, finding.says


def both(servers: Pair) -> dict[str, dict[str, str]]:
    return {
        server.name: {"kind": "postgres", "address": f"{LOOPBACK}:{server.port}"}
        for server in servers.both
    }


def login(database: Database) -> dict[str, object]:
    return {
        "user": ROLE,
        "database": database.name,
        "password_path": database.server.password_path,
    }


@contextmanager
def seeing(primary: Postgres, *, more: bool) -> Iterator[None]:
    """Let the role see what others do, or not; other tests have the same servers."""
    grant, revoke = (
        f"GRANT pg_read_all_stats TO {ROLE}",
        f"REVOKE pg_read_all_stats FROM {ROLE}",
    )
    had = primary.sql(f"SELECT pg_has_role('{ROLE}', 'pg_read_all_stats', 'USAGE')").strip() == "t"
    primary.sql(grant if more else revoke)
    try:
        yield
    finally:
        primary.sql(grant if had else revoke)


def test_a_primary_and_its_standby(
    tmp_path: Path, postgres_pair: Pair, pair_database: Database
) -> None:
    primary, standby = postgres_pair.primary.name, postgres_pair.standby.name
    with seeing(postgres_pair.primary, more=False):
        told = looked(tmp_path, both(postgres_pair), **login(pair_database))

    assert told["postgres"] == [("ok", "primary", f"{primary} is the only primary")]
    ((severity, about, says),) = told[primary]
    assert (severity, about) == ("ok", "role")
    # What the role may not see is said.
    assert says.endswith("primary; standbys: 1 of unknown state")
    assert [each[:2] for each in told[standby]] == [("ok", "role"), ("ok", "lag")]
    assert told[standby][1][2].endswith(" s behind")
    assert told["clocks"][0][0] == "ok"


def test_who_may_see_it_is_told_what_a_commit_waits_for(
    tmp_path: Path, postgres_pair: Pair, pair_database: Database
) -> None:
    primary, standby = postgres_pair.primary, postgres_pair.standby
    with seeing(primary, more=True):
        alone = looked(tmp_path, both(postgres_pair), **login(pair_database))[primary.name]
        primary.require_standby(standby)
        waits = looked(tmp_path, both(postgres_pair), **login(pair_database))[primary.name]

    assert alone[0][2].endswith(f"primary; standbys: {standby.name} async")
    assert waits[0][2].endswith(f"primary; standbys: {standby.name} sync")


def test_a_standby_that_replays_nothing_is_seen_to_be_behind(
    tmp_path: Path, postgres_pair: Pair, pair_database: Database
) -> None:
    standby = postgres_pair.standby
    before = looked(tmp_path, both(postgres_pair), **login(pair_database))[standby.name]
    standby.pause_replay()
    try:
        # A page of the log is enough to be seen, and far from enough for a warning.
        pair_database.sql("CREATE TABLE much AS SELECT generate_series(1, 10000) AS number")
        told = looked(tmp_path, both(postgres_pair), **login(pair_database))[standby.name]
    finally:
        standby.resume_replay()

    assert int(told[1][2].split()[0]) > int(before[1][2].split()[0])
    assert int(told[1][2].split()[0]) > 100_000


def test_one_that_is_down_is_named(
    tmp_path: Path, postgres_pair: Pair, pair_database: Database
) -> None:
    primary, standby = postgres_pair.primary, postgres_pair.standby
    primary.kill()
    told = looked(tmp_path, both(postgres_pair), **login(pair_database))

    assert told[primary.name] == [
        ("fail", "reach", f"{LOOPBACK}:{primary.port} refuses connections")
    ]
    assert told["postgres"] == [("fail", "primary", "no primary was seen")]
    assert told[standby.name][1][:2] == ("fail", "lag")
    assert told[standby.name][1][2].startswith("receives nothing from a primary")


def test_two_that_both_believe_to_be_the_primary(
    tmp_path: Path, postgres_pair: Pair, pair_database: Database
) -> None:
    postgres_pair.promote_away()
    told = looked(tmp_path, both(postgres_pair), **login(pair_database))

    ((severity, about, says),) = told["postgres"]
    assert (severity, about) == ("fail", "primary")
    assert says.endswith("are both primaries")


def test_one_that_has_stopped_in_its_tracks_is_not_waited_for(
    tmp_path: Path, postgres_pair: Pair, pair_database: Database
) -> None:
    standby = postgres_pair.standby
    standby.pause()
    try:
        told = looked(tmp_path, both(postgres_pair), **login(pair_database))
    finally:
        standby.resume()

    ((severity, _, _),) = told[standby.name]
    assert severity == "fail"
    assert told["postgres"][0][0] == "ok"


def test_one_that_is_too_old(
    tmp_path: Path, postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_OLDEST", 990000)
    place = f"{LOOPBACK}:{postgres_database.server.port}"
    told = looked(
        tmp_path, {"db": {"kind": "postgres", "address": place}}, **login(postgres_database)
    )

    assert told["db"][1][:2] == ("fail", "version")
    assert told["db"][1][2].endswith(" is too old")


def test_one_that_does_not_take_the_password(
    tmp_path: Path, postgres_server: Postgres, postgres_database: Database
) -> None:
    parts = {"db": {"kind": "postgres", "address": f"{LOOPBACK}:{postgres_server.port}"}}
    password = tmp_path / "password"
    write_private(password, "not to be seen")
    shown = login(postgres_database) | {"password_path": password}
    told = looked(tmp_path, parts, **shown)

    ((severity, about, says),) = told["db"]
    assert (severity, about) == ("fail", "login")
    assert says.startswith(f"it does not let {ROLE} into {postgres_database.name}: ")
    assert "password authentication failed" in says
    # The other way that the password may be given: libpq's own file.
    right = tmp_path / "passfile"
    write_private(right, f"*:*:*:{ROLE}:{postgres_server.password}\n")
    shown = {"user": ROLE, "database": postgres_database.name, "passfile_path": right}
    assert looked(tmp_path, parts, **shown)["db"][0][:2] == ("ok", "role")


def test_without_a_login_it_has_only_to_be_postgresql(
    tmp_path: Path, postgres_pair: Pair, valkey_server: Valkey
) -> None:
    parts = both(postgres_pair)
    parts["valkey"] = {"kind": "postgres", "address": f"{LOOPBACK}:{valkey_server.port}"}
    told = looked(tmp_path, parts)

    assert told[postgres_pair.primary.name] == [("ok", "reach", "PostgreSQL answers")]
    assert told["valkey"][0][0] == "fail"


def test_a_valkey_with_a_password_and_without(tmp_path: Path, breakable_valkey: Valkey) -> None:
    counters = {"kind": "valkey", "address": f"{LOOPBACK}:{breakable_valkey.port}"}
    path = tmp_path / "password"
    write_private(path, "a password of tests\n")
    open_to_all = looked(tmp_path, {"counters": counters})["counters"]
    assert [each[0] for each in open_to_all] == ["ok", "warn"]

    breakable_valkey.ask("CONFIG", "SET", "requirepass", "a password of tests")
    told = looked(tmp_path, {"counters": counters}, password_path=path)["counters"]
    assert len(told) == 1
    assert told[0][0] == "ok"
    assert told[0][2].endswith(", wants a password")
    assert looked(tmp_path, {"counters": counters})["counters"] == [
        ("ok", "reach", "answers, and wants a password")
    ]
    # What is needed for counters is seen, too.
    kept = looked(tmp_path, {"counters": counters | {"policy": "allkeys-lru"}}, password_path=path)[
        "counters"
    ]
    assert kept[1][:2] == ("fail", "policy")

    write_private(path, "another one")
    assert looked(tmp_path, {"counters": counters}, password_path=path)["counters"][0][:2] == (
        "fail",
        "login",
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with services(tmp_path_factory.mktemp("topology"), count=2, settings={}, people={}) as made:
        yield made


def test_replicas_of_the_service(tmp_path: Path, two: Services) -> None:
    token = tmp_path / "token"
    write_private(token, f"{two.token}\n")
    parts = {
        replica.name: {"kind": "lalepass", "address": f"{LOOPBACK}:{replica.port}"}
        for replica in two.replicas
    }
    told = looked(tmp_path, parts, token_path=token)
    for replica in two.replicas:
        ((severity, _, says),) = told[replica.name]
        assert severity == "ok"
        assert says.startswith("Lalepass ")
        assert says.endswith(", ready")

    write_private(token, "lalepass_000000000000_" + "x" * 43)
    refused = looked(tmp_path, parts, token_path=token)[two.replicas[0].name]
    assert [each[:2] for each in refused] == [("fail", "login")]

    two.replicas[1].pause()
    try:
        told = looked(tmp_path, parts)
    finally:
        two.replicas[1].resume()
    assert told[two.replicas[0].name][0][0] == "ok"
    assert told[two.replicas[1].name][0][0] == "fail"
