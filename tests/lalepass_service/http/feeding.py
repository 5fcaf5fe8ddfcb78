"""How a homeserver asks for the feed."""

import asyncio
from typing import Any

import httpx

from lalepass_wire import paths
from lalepass_wire.feed import Changes, LockedPage
from tests.lalepass_service.http.world import World

START = "memory-0"
WIDE = "\U0001f600"
REPORT: dict[str, Any] = {
    "id": "0123456789abcdef",
    "kind": "signed_in",
    "localpart": "alice",
    "device_id": "PHONE",
    "at": "2026-01-02T03:00:00Z",
    "source": {"ip": "2001:db8::1", "user_agent": "Element/1.11"},
}


async def ask(client: httpx.AsyncClient, after: str = START, **more: Any) -> Changes:
    answer = await client.get(paths.CHANGES, params={"after": after, **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    return Changes.model_validate_json(answer.content)


async def somebody_waits(world: World) -> None:
    while not world.watch.waiting:  # noqa: ASYNC110 - a watch tells nobody who waits
        await asyncio.sleep(0.01)


async def locked(client: httpx.AsyncClient, **question: Any) -> LockedPage:
    answer = await client.get(paths.LOCKED, params=question)
    assert answer.status_code == 200, answer.text
    return LockedPage.model_validate_json(answer.content)
