import httpx
import pytest

from lalepass_service.core.model import Scope
from lalepass_wire import paths
from tests.lalepass_service.accounts import BY
from tests.lalepass_service.http.world import World, assert_problem, check

pytestmark = pytest.mark.anyio

_STRANGERS = [
    "Bearer",
    "Bearer ",
    "Bearer lalepass_",
    f"Bearer lalepass_{'0' * 12}_{'a' * 43}",
    "Bearer ümläut".encode("latin-1"),
    b"Bearer \xff\xfe",
    "Basic YWxpY2U6cGFzc3dvcmQ=",
    "Bearer " + "a" * 8000,
]


@pytest.mark.parametrize("authorization", _STRANGERS)
async def test_a_stranger_is_told_nothing_but_that(
    client: httpx.AsyncClient, world: World, authorization: str | bytes
) -> None:
    answer = await check(client, headers={"Authorization": authorization})

    problem = assert_problem(answer, 401, "caller_unknown")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "detail" not in problem
    assert world.hasher.calls == 0


async def test_no_token_is_as_good_as_a_wrong_one(world: World) -> None:
    async with world.client() as client:
        del client.headers["Authorization"]
        assert_problem(await check(client), 401, "caller_unknown")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {}),
        (b"x" * 20_000, {}),
        (b"{}", {"Content-Type": "text/plain"}),
        (b"\xff", {"Content-Type": "application/json"}),
    ],
)
async def test_a_stranger_does_not_learn_what_is_wrong_with_the_body(
    world: World, body: bytes, headers: dict[str, str]
) -> None:
    async with world.client() as client:
        del client.headers["Authorization"]
        answer = await client.post(paths.CHECK_CREDENTIALS, content=body, headers=headers)

    assert_problem(answer, 401, "caller_unknown")


async def test_a_revoked_token_is_an_unknown_one(client: httpx.AsyncClient, world: World) -> None:
    assert (await check(client)).status_code == 200
    await world.registry.revoke(world.token.split("_")[1], by=BY)

    assert_problem(await check(client), 401, "caller_unknown")


async def test_a_token_for_something_else_is_not_enough(
    client: httpx.AsyncClient, world: World
) -> None:
    _, feed = await world.registry.create("follower", [Scope.FEED], by=BY)
    answer = await check(client, headers={"Authorization": f"Bearer {feed}"})

    assert_problem(answer, 403, "scope_missing")
    assert world.hasher.calls == 0


async def test_the_scheme_is_written_in_any_case(client: httpx.AsyncClient, world: World) -> None:
    answer = await check(client, headers={"Authorization": f"bearer {world.token}"})

    assert answer.status_code == 200
