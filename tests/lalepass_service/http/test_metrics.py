from collections.abc import Mapping
from math import inf

import httpx
import pytest

from lalepass_service.core.errors import Overloaded
from lalepass_service.core.recent import RecentChecks
from lalepass_service.http.metrics import Figure
from lalepass_wire import paths
from tests.lalepass_service.http.world import WRONG, World, a_check, check

pytestmark = pytest.mark.anyio


async def _figures(client: httpx.AsyncClient) -> dict[str, float]:
    text = (await client.get(paths.METRICS)).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def test_every_outcome_is_counted(client: httpx.AsyncClient, world: World) -> None:
    await check(client)
    await check(client, a_check(password=WRONG))
    await check(client, a_check("nobody"))
    await check(client, a_check("gone"))
    world.hasher.failure = Overloaded(retry_after=1)
    await check(client)
    figures = await _figures(client)

    counted = {name: value for name, value in figures.items() if "checks_total" in name}
    assert counted == {
        'lalepass_checks_total{code="",outcome="accepted"}': 1,
        'lalepass_checks_total{code="",outcome="refused_credentials"}': 2,
        'lalepass_checks_total{code="",outcome="refused_disabled"}': 1,
        'lalepass_checks_total{code="overloaded",outcome="no_answer"}': 1,
    }
    assert figures["lalepass_check_duration_seconds_count"] == 5
    assert figures["lalepass_checks_from_cache_total"] == 0


async def test_what_was_not_hashed_again_is_counted(world: World) -> None:
    world.recent = RecentChecks(seconds=60)
    async with world.client() as client:
        answers = [await check(client) for _ in range(3)]
        await check(client, a_check(password=WRONG))
        figures = await _figures(client)

    assert figures["lalepass_checks_from_cache_total"] == 2
    assert figures['lalepass_checks_total{code="",outcome="accepted"}'] == 3
    # Of the answer nobody can tell.
    assert len({answer.content for answer in answers}) == 1
    assert world.hasher.calls == 2


async def test_the_load_of_the_hasher_is_shown_as_it_is_now(
    client: httpx.AsyncClient,
) -> None:
    figures = await _figures(client)

    assert figures["lalepass_hasher_slots"] == 2
    assert figures["lalepass_hasher_busy"] == 1
    assert figures["lalepass_hasher_waiting"] == 3
    assert figures["lalepass_hasher_held"] == 2
    assert figures["lalepass_hasher_extra_bytes"] == 6 * 1024
    assert figures["lalepass_hasher_shed_total"] == 4
    assert figures["lalepass_hasher_completed_total"] == 5
    assert figures["lalepass_hasher_seconds"] == 0.5
    assert figures['lalepass_hasher_wait_seconds_bucket{le="0.1"}'] == 6
    assert figures['lalepass_hasher_wait_seconds_bucket{le="+Inf"}'] == 13
    assert figures["lalepass_hasher_wait_seconds_count"] == 13
    assert figures["lalepass_hasher_wait_seconds_sum"] == 8.5
    assert figures['lalepass_legacy_processes_lost_total{why="time"}'] == 9
    assert figures['lalepass_legacy_processes_lost_total{why="ended"}'] == 10
    assert figures['lalepass_hasher_info{binding="avx512"}'] == 1


async def test_it_is_shown_how_the_trail_fares(client: httpx.AsyncClient) -> None:
    figures = await _figures(client)

    assert figures["lalepass_audit_waiting"] == 6
    assert figures["lalepass_audit_lost_total"] == 7
    assert figures["lalepass_audit_copy_failures_total"] == 8
    assert figures["lalepass_audit_copy_lost_total"] == 9


async def test_paths_that_do_not_exist_share_one_figure(client: httpx.AsyncClient) -> None:
    for number in range(3):
        await client.get(f"/{number}")

    figures = await _figures(client)
    assert figures['lalepass_http_requests_total{route="none",status="404"}'] == 3


async def test_nobody_is_named(client: httpx.AsyncClient) -> None:
    await check(client)
    text = (await client.get(paths.METRICS)).text

    assert "alice" not in text
    assert "homeserver" not in text


class Trips:
    """Counters that are away."""

    up = False
    losses, emptied, fallbacks, conflicts, put_back = 1, 2, 3, 4, 5
    trips: tuple[tuple[tuple[float, int], ...], float] = (((0.001, 6), (0.25, 0), (inf, 2)), 1.5)


async def test_it_is_shown_how_the_counters_fare_that_replicas_share(world: World) -> None:
    async with world.client() as client:
        assert not any("valkey" in name for name in await _figures(client))
    world.counters = Trips()
    async with world.client() as client:
        figures = await _figures(client)

    assert {name: value for name, value in figures.items() if "valkey" in name} == {
        "lalepass_valkey_up": 0,
        "lalepass_valkey_losses_total": 1,
        "lalepass_valkey_emptied_total": 2,
        "lalepass_valkey_fallbacks_total": 3,
        "lalepass_valkey_conflicts_total": 4,
        "lalepass_valkey_put_back_total": 5,
        'lalepass_valkey_trip_seconds_bucket{le="0.001"}': 6,
        'lalepass_valkey_trip_seconds_bucket{le="0.25"}': 6,
        'lalepass_valkey_trip_seconds_bucket{le="+Inf"}': 8,
        "lalepass_valkey_trip_seconds_count": 8,
        "lalepass_valkey_trip_seconds_sum": 1.5,
    }


class Two:
    """A primary, and an old one that goes on."""

    writing, timeline, split, left, dropped, refused = 2, 3, False, 4, 5, 6
    up, age = True, 7.5


async def test_it_is_shown_which_server_of_the_database_is_believed(world: World) -> None:
    async with world.client() as client:
        assert not any("database" in name for name in await _figures(client))
    world.primaries = Two()
    async with world.client() as client:
        figures = await _figures(client)

    assert {name: value for name, value in figures.items() if "database" in name} == {
        "lalepass_database_primaries": 2,
        "lalepass_database_primary_up": 1,
        "lalepass_database_look_age_seconds": 7.5,
        "lalepass_database_timeline": 3,
        "lalepass_database_split": 0,
        "lalepass_database_transactions_left": 4,
        "lalepass_database_connections_dropped_total": 5,
        "lalepass_database_writes_refused_total": 6,
    }


class Standbys:
    """Reads of which some went to the primary."""

    up, used, fences = 2, 30, 7
    passed: Mapping[str, int] = {"lagging": 4, "away": 0}


async def test_it_is_shown_how_reads_from_standbys_fare(world: World) -> None:
    async with world.client() as client:
        assert not any("replica" in name for name in await _figures(client))
    world.replicas = Standbys()
    async with world.client() as client:
        figures = await _figures(client)

    assert {name: value for name, value in figures.items() if "replica" in name} == {
        "lalepass_replica_connections": 2,
        "lalepass_replica_reads_total": 30,
        'lalepass_replica_passed_total{why="lagging"}': 4,
        'lalepass_replica_passed_total{why="away"}': 0,
        "lalepass_replica_fences_total": 7,
    }


async def test_what_others_know_is_shown_as_it_is_now(world: World) -> None:
    known = [3.0, 4.0]
    world.figures = [Figure("lalepass_sheep", "Counted at night", lambda: known.pop(0))]
    async with world.client() as client:
        assert (await _figures(client))["lalepass_sheep"] == 3
        assert (await _figures(client))["lalepass_sheep"] == 4
