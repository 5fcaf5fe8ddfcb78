"""What Synapse's module API can't do, so that `sessions.py` goes further inside."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from synapse.module_api import ModuleApi
from synapse.types import create_requester
from twisted.internet import defer

from tests.lalepass_provider.on_reactor import on_reactor

TOKEN = "syt_of_bob"


class Auth:
    """Knows one token, as `synapse.api.auth` does."""

    def get_user_by_access_token(self, token: str) -> Awaitable[Any]:
        assert token == TOKEN
        return defer.succeed(create_requester("@bob:hs.example", device_id="PHONE"))


class Devices:
    """Synapse's device handler, which is where a session ends."""

    def __init__(self) -> None:
        self.deleted: list[tuple[str, list[str]]] = []

    def delete_devices(self, user_id: str, device_ids: list[str]) -> Awaitable[None]:
        self.deleted.append((user_id, device_ids))
        return defer.succeed(None)


@on_reactor
async def test_s18_the_module_api_ends_no_session() -> None:
    """S18: it takes a Requester for a dictionary. Should this fail, Synapse has mended it.

    Then `sessions.py` could use it in place of Synapse's device handler.
    """
    api, devices = ModuleApi.__new__(ModuleApi), Devices()
    vars(api).update(_auth=Auth(), _device_handler=devices)
    invalidate = cast("Callable[[str], Awaitable[None]]", api.invalidate_access_token)

    with pytest.raises(AttributeError, match="no attribute 'get'"):
        await invalidate(TOKEN)

    assert devices.deleted == []
