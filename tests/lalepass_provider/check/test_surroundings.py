"""Listeners, metrics, workers."""

from typing import Any

import pytest

from lalepass_provider.check import surroundings
from tests.lalepass_provider.check.found import names, only

NAMED = {"server_name": "hs.example"}
LOOPBACK = {
    "type": "http",
    "port": 8008,
    "bind_addresses": ["::1", "127.0.0.1"],
    "resources": [{"names": ["client", "federation"]}],
}


def look(**config: Any) -> list[Any]:
    return list(surroundings.look({**NAMED, **config}))


def test_files_without_a_server_name_are_not_all_files() -> None:
    assert names(surroundings.look({})) == ["no-server-name"]


def test_behind_a_proxy_people_have_addresses_of_their_own_only_if_synapse_is_told() -> None:
    """S19: the client's address that the service learns is the one that Synapse knows."""
    found = only(look(listeners=[LOOPBACK]), "one-address")

    assert found.option == "listeners[0].x_forwarded"
    assert names(look(listeners=[{**LOOPBACK, "x_forwarded": True}])) == []
    assert names(look(listeners=[{**LOOPBACK, "bind_addresses": ["localhost"]}])) == ["one-address"]


@pytest.mark.parametrize(
    "change",
    [
        {"bind_addresses": ["0.0.0.0"]},
        {"bind_addresses": ["127.0.0.1", "192.0.2.1"]},
        {"bind_addresses": ["127.0.0.1", "matrix.example.org"]},
        {"bind_addresses": None},
        {"resources": [{"names": ["metrics"]}]},
        {"resources": [{"names": "metrics"}]},
        {"resources": None},
        {"resources": ["client"]},
        {"path": "/run/synapse.sock"},
    ],
    ids=str,
)
def test_others_are_not_behind_a_proxy_for_all_that_is_known(change: dict[str, Any]) -> None:
    assert names(look(listeners=[{**LOOPBACK, **change}])) == []


@pytest.mark.parametrize("listeners", [None, {}, "http", ["http"], [None]], ids=str)
def test_odd_listeners_are_synapses_to_refuse(listeners: object) -> None:
    assert names(look(listeners=listeners)) == []


@pytest.mark.parametrize(
    "listener",
    [
        {"type": "metrics", "port": 9000},
        {"type": "http", "port": 9000, "resources": [{"names": ["metrics"]}]},
    ],
    ids=["own", "resource"],
)
def test_metrics_are_found(listener: dict[str, Any]) -> None:
    assert only(look(listeners=[listener], enable_metrics=True), "metrics").fix is None
    assert only(look(listeners=[listener]), "metrics").fix is not None
    assert only(look(enable_metrics=True), "metrics").fix is not None


def test_workers_need_redis_and_the_module_in_each_process() -> None:
    workers = {"instance_map": {"main": {}, "writer": {"port": 1}}}

    assert names(look(**workers)) == ["no-redis"]
    found = look(**workers, redis={"enabled": True})
    assert names(found) == []
    assert only(found, "workers").fix is not None


def test_the_file_of_a_worker_is_known_as_one() -> None:
    found = look(
        worker_app="synapse.app.generic_worker",
        worker_listeners=[LOOPBACK],
        redis={"enabled": True},
    )

    assert only(found, "one-address").option == "worker_listeners[0].x_forwarded"
    assert only(found, "workers").option == "worker_app"


def test_a_main_process_alone_has_no_workers() -> None:
    assert "workers" not in [f.name for f in look(instance_map={"main": {"host": "localhost"}})]
