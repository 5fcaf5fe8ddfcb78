"""Builds what talks to the service, from the configuration."""

from typing import Any, Final

from lalepass_provider import metrics
from lalepass_provider.calls import Calls, Yieldable
from lalepass_provider.client import LalepassClient
from lalepass_provider.config import ProviderConfig
from lalepass_provider.endpoints import Endpoints
from lalepass_provider.health import Health
from lalepass_provider.transport import Transport

_IDLE_CONNECTIONS: Final = 32
_MAX_PROBE_SECONDS: Final = 2.0


def client(
    config: ProviderConfig,
    *,
    reactor: Any,  # noqa: ANN401 - several of Twisted's interfaces at once
    yieldable: Yieldable = lambda deferred: deferred,
) -> LalepassClient:
    """Return a client of the service that the configuration names.

    Raises:
        ConfigError: a file that it names is not as it should be.
    """
    tls = config.client_tls()
    # With several endpoints, one that swallows connections must leave time for another.
    share = config.timeout if len(config.addresses) == 1 else config.timeout / 2
    connect_timeout = min(config.connect_timeout, share)
    transports = [
        Transport(
            reactor=reactor,
            url=url,
            connect_timeout=connect_timeout,
            max_idle_connections=_IDLE_CONNECTIONS,
            tls=tls,
        )
        for url in config.addresses
    ]
    health = Health(
        transports,
        clock=reactor,
        probe_seconds=min(connect_timeout, _MAX_PROBE_SECONDS),
        metrics=metrics.shared(),
    )
    calls = Calls(
        endpoints=Endpoints(health, clock=reactor),
        token=config.bearer_token(),
        deadline=config.timeout,
        max_in_flight=config.max_in_flight,
        yieldable=yieldable,
    )
    return LalepassClient(calls, metrics=metrics.shared())
