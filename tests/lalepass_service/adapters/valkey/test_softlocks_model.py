"""Lanes in Valkey against the same model as the others, in whatever order."""

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize

from lalepass_service.adapters.valkey.client import Client
from lalepass_service.adapters.valkey.softlocks import ValkeySoftLocks
from tests.lalepass_service.adapters import test_softlocks_model as model
from tests.lalepass_service.adapters.valkey.house import DIGESTS, PATIENT, PREFIX, target
from tests.servers.valkey import Valkey


class SoftLocks(model.SoftLocks):
    server: ClassVar[Valkey]

    @initialize()
    def begin(self) -> None:
        self.url = self.server.new_url()
        self.open()

    def open(self) -> None:
        self.clients = [Client(target(self.url), prefix=PREFIX, timeout=PATIENT) for _ in range(2)]
        # Two replicas, in the place of two connections.
        self.replicas = [
            ValkeySoftLocks(client, DIGESTS, names_kept=model.NAMES_KEPT) for client in self.clients
        ]
        self.one, self.other = self.replicas

    def kept_since(self, last: datetime) -> datetime:
        """Names are counted by the hour here."""
        return last.replace(minute=0, second=0, microsecond=0)

    def restarted(self) -> None:
        self.close()
        self.open()

    def close(self) -> None:
        for replica, client in zip(self.replicas, self.clients, strict=True):
            self.run(replica.close())
            self.run(client.close())


TestSoftLocks = SoftLocks.TestCase
TestSoftLocks.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(autouse=True, scope="module")
def _server(valkey_server: Valkey) -> Iterator[None]:
    SoftLocks.server = valkey_server
    yield
    del SoftLocks.server
