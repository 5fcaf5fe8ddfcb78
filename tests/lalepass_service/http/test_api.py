import httpx
import pytest

from lalepass_wire import paths
from tests.lalepass_service.http.world import World, assert_problem

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/credentials/check/",
        "/V1/credentials/check",
        "//v1/credentials/check",
        "/docs",
        "/redoc",
        "/metrics/../x",
        "/%2e%2e/etc/passwd",
        "/%00",
        "/" + "a" * 5000,
    ],
)
async def test_an_unknown_path_is_a_problem_like_any_other(
    client: httpx.AsyncClient, path: str
) -> None:
    assert_problem(await client.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_an_unknown_method_is_a_problem_like_any_other(
    client: httpx.AsyncClient, method: str
) -> None:
    answer = await client.request(method, paths.CHECK_CREDENTIALS)

    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_what_nobody_foresaw_is_a_problem_like_any_other(world: World) -> None:
    # A store of another shape: the fault is real, and its text quotes what was typed.
    world.users.credentials = _quotes  # type: ignore[method-assign,assignment]
    async with world.client() as client:
        answer = await client.post(
            paths.CHECK_CREDENTIALS,
            json={"identifier": {"kind": "user", "localpart": "alice"}, "password": "a"},
        )

    problem = assert_problem(answer, 500, "internal")
    assert "detail" not in problem
    assert "alice" not in answer.text


async def _quotes(what: object) -> None:
    raise ValueError(repr(what))
