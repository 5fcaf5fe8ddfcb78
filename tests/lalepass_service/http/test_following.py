"""What all that a homeserver asks as a follower has in common."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lalepass_service.core.errors import StoreUnavailable, Throttled
from lalepass_wire import limits, paths
from tests.lalepass_service.http.feeding import REPORT, START, ask
from tests.lalepass_service.http.world import World, assert_problem

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (paths.ACKNOWLEDGE_ORDERS, {}),
        (paths.ACKNOWLEDGE_ORDERS, {"orders": []}),
        (paths.ACKNOWLEDGE_ORDERS, {"orders": [1]}),
        (paths.ACKNOWLEDGE_ORDERS, {"orders": ["canary-7f3a" * 9]}),
        (paths.ACKNOWLEDGE_ORDERS, {"orders": ["a"], "canary-7f3a": 1}),
        (paths.REPORTS, {"reports": []}),
        (paths.REPORTS, {"reports": [REPORT] * (limits.MAX_REPORTS + 1)}),
        (paths.REPORTS, {"reports": [REPORT | {"at": "canary-7f3a"}]}),
        (paths.REPORTS, {"reports": [REPORT | {"canary-7f3a": "canary-7f3a"}]}),
    ],
    ids=str,
)
async def test_an_odd_body_is_malformed_and_is_not_repeated(
    follower: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    answer = await follower.post(path, json=body)

    assert_problem(answer, 400, "malformed_request")
    assert "canary" not in answer.text


_ALL: list[Callable[[httpx.AsyncClient], Any]] = [
    lambda client: client.get(paths.CHANGES, params={"after": START}),
    lambda client: client.get(paths.LOCKED),
    lambda client: client.post(paths.ACKNOWLEDGE_ORDERS, json={"orders": ["a"]}),
    lambda client: client.post(paths.REPORTS, json={"reports": [REPORT]}),
]
_IDS = ["changes", "locked", "acknowledge", "reports"]


@pytest.mark.parametrize("call", _ALL, ids=_IDS)
async def test_all_of_it_needs_the_scope(
    client: httpx.AsyncClient, call: Callable[[httpx.AsyncClient], Any]
) -> None:
    assert_problem(await call(client), 403, "scope_missing")
    client.headers["Authorization"] = "Bearer nonsense"
    assert_problem(await call(client), 401, "caller_unknown")


@pytest.mark.parametrize("call", _ALL, ids=_IDS)
async def test_a_caller_that_asks_too_often_has_to_wait(
    follower: httpx.AsyncClient, world: World, call: Callable[[httpx.AsyncClient], Any]
) -> None:
    world.throttle.failure = Throttled(retry_after=0.5)

    answer = await call(follower)

    assert_problem(answer, 429, "throttled")
    assert answer.headers["retry-after"] == "1"


async def test_a_lost_database_is_no_empty_feed(follower: httpx.AsyncClient, world: World) -> None:
    cursor = (await ask(follower)).cursor
    world.changes.failure = StoreUnavailable()

    for call in _ALL[:2]:
        assert_problem(await call(follower), 503, "unavailable")
    answer = await follower.get(paths.CHANGES, params={"after": cursor, "wait": 5})
    assert_problem(answer, 503, "unavailable")
