"""Listeners and workers: what follows for the module from how this Synapse is set up."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from lalepass_provider.check.finding import Finding, error, is_section, ok, section, warning


def look(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at them."""
    yield from _server_name(config)
    listeners = config.get("worker_listeners") or config.get("listeners") or []
    where = "worker_listeners" if config.get("worker_listeners") else "listeners"
    named = [
        (f"{where}[{number}]", listener)
        for number, listener in enumerate(listeners if isinstance(listeners, list) else [])
        if is_section(listener)
    ]
    for option, listener in named:
        yield from _client_addresses(option, listener)
    yield _metrics(config, dict(named))
    yield from _workers(config)


def _server_name(config: Mapping[str, Any]) -> Iterator[Finding]:
    if not isinstance(config.get("server_name"), str):
        yield error(
            "no-server-name",
            "There is no server_name in these files.",
            fix="Name all files that Synapse is started with, the shared one of a worker first.",
            option="server_name",
        )


def _resources(listener: Mapping[str, Any]) -> set[str]:
    resources = listener.get("resources") or []
    if not isinstance(resources, list):
        return set()
    names = [resource.get("names") for resource in resources if is_section(resource)]
    return {str(name) for some in names for name in (some if isinstance(some, list) else [some])}


def _client_addresses(option: str, listener: Mapping[str, Any]) -> Iterator[Finding]:
    """Behind a proxy, everybody has the proxy's address unless Synapse is told to look further."""
    if "client" not in _resources(listener) or "path" in listener:
        return
    bound = listener.get("bind_addresses") or [listener.get("bind_address", "0.0.0.0")]  # noqa: S104 - Synapse's default
    behind_proxy = isinstance(bound, list) and all(_is_loopback(address) for address in bound)
    if behind_proxy and not listener.get("x_forwarded"):
        yield warning(
            "one-address",
            "Only this machine can reach this listener, and x_forwarded is off: if a proxy is in"
            " front, all people seem to have one address, and share one limit for guesses.",
            fix="Set x_forwarded to true if there is a proxy.",
            option=f"{option}.x_forwarded",
        )


def _is_loopback(address: object) -> bool:
    if address == "localhost":
        return True
    try:
        return ip_address(str(address)).is_loopback
    except ValueError:
        return False


def _metrics(config: Mapping[str, Any], listeners: Mapping[str, Mapping[str, Any]]) -> Finding:
    shown = [
        option
        for option, listener in listeners.items()
        if listener.get("type") == "metrics" or "metrics" in _resources(listener)
    ]
    if config.get("enable_metrics") and shown:
        return ok("metrics", "The module's figures are among Synapse's metrics.", option=shown[0])
    return ok(
        "metrics",
        "Synapse shows no metrics, so the module's figures can't be seen.",
        fix="Set enable_metrics, and give a listener the resource metrics.",
        option="enable_metrics",
    )


def _workers(config: Mapping[str, Any]) -> Iterator[Finding]:
    workers = section(config, "instance_map").keys() - {"main"}
    if not workers and not config.get("worker_app"):
        return
    if not section(config, "redis").get("enabled"):
        yield error(
            "no-redis",
            "There are workers and no Redis, so they don't hear of each other.",
            fix="Set redis.enabled.",
            option="redis.enabled",
        )
    yield ok(
        "workers",
        "There are workers: each process has the module, and its own connections to the service.",
        fix="List the module in the file that all of them read. Count max_in_flight for each"
        " process that answers /login.",
        option="worker_app" if config.get("worker_app") else "instance_map",
    )
