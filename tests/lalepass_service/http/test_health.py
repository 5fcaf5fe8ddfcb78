import httpx
import pytest

from lalepass_wire import paths
from tests.lalepass_service.http.world import World, assert_problem

pytestmark = pytest.mark.anyio


async def test_a_process_that_answers_lives(client: httpx.AsyncClient, world: World) -> None:
    world.database_answers = False
    answer = await client.get(paths.HEALTH_LIVE)

    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


async def test_it_is_ready_when_its_database_answers(client: httpx.AsyncClient) -> None:
    answer = await client.get(paths.HEALTH_READY)

    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def test_it_is_not_ready_without_its_database(
    client: httpx.AsyncClient, world: World
) -> None:
    world.database_answers = False

    assert_problem(await client.get(paths.HEALTH_READY), 503, "unavailable")


async def test_nobody_needs_a_token_to_ask_how_it_is(world: World) -> None:
    async with world.client() as client:
        del client.headers["Authorization"]

        assert (await client.get(paths.HEALTH_READY)).status_code == 200
