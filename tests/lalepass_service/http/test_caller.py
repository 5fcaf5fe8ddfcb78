import httpx
import pytest

from lalepass_service.core.model import Scope
from lalepass_wire import CallerFacts, parse_caller, paths
from tests.lalepass_service.accounts import BY, NOW
from tests.lalepass_service.http.world import VERSION, World, assert_problem

pytestmark = pytest.mark.anyio


async def test_a_caller_learns_whom_it_is_taken_for(client: httpx.AsyncClient) -> None:
    answer = await client.get(paths.CALLER)

    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert parse_caller(answer.content) == CallerFacts(
        name="homeserver", scopes=("check",), service_version=VERSION, server_time=NOW
    )


@pytest.mark.parametrize("scopes", [[Scope.CHECK], [Scope.FEED], list(Scope)], ids=str)
async def test_any_token_will_do_and_its_scopes_are_named(
    world: World, scopes: list[Scope]
) -> None:
    _, token = await world.registry.create("other", scopes, by=BY)
    async with world.client() as client:
        answer = await client.get(paths.CALLER, headers={"Authorization": f"Bearer {token}"})

    facts = parse_caller(answer.content)
    assert (facts.name, facts.scopes) == ("other", tuple(sorted(scopes)))


@pytest.mark.parametrize(
    "authorization", ["Bearer", f"Bearer lalepass_{'0' * 12}_{'a' * 43}", "Basic YTpi"]
)
async def test_a_stranger_learns_nothing(world: World, authorization: str) -> None:
    async with world.client() as client:
        answer = await client.get(paths.CALLER, headers={"Authorization": authorization})

    problem = assert_problem(answer, 401, "caller_unknown")
    assert VERSION not in str(problem)


async def test_a_revoked_token_is_told_so(client: httpx.AsyncClient, world: World) -> None:
    await world.registry.revoke(world.token.split("_")[1], by=BY)

    assert_problem(await client.get(paths.CALLER), 401, "caller_unknown")


async def test_it_is_asked_and_not_told(client: httpx.AsyncClient, world: World) -> None:
    for _ in range(3):
        await client.get(paths.CALLER)

    assert world.hasher.calls == 0
    assert world.trail.entries == []
    assert_problem(await client.post(paths.CALLER), 405, "method_not_allowed")
