"""The limits as an ASGI application sees them; `test_protocol.py` tries them over a socket."""

from collections.abc import AsyncIterator

import httpx
import pytest

from lalepass_wire import paths
from lalepass_wire.limits import MAX_REQUEST_BYTES
from tests.lalepass_service.http.world import World, assert_problem

pytestmark = pytest.mark.anyio

_JSON = {"Content-Type": "application/json"}


async def _pieces(count: int, size: int = 1024) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


async def test_a_body_that_says_it_is_too_long_is_not_read(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        paths.CHECK_CREDENTIALS, content=b" " * (MAX_REQUEST_BYTES + 1), headers=_JSON
    )

    assert_problem(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"


async def test_a_body_that_turns_out_too_long_is_not_read_on(client: httpx.AsyncClient) -> None:
    answer = await client.post(paths.CHECK_CREDENTIALS, content=_pieces(17), headers=_JSON)

    assert_problem(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"


async def test_a_body_of_exactly_the_limit_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post(paths.CHECK_CREDENTIALS, content=_pieces(16), headers=_JSON)

    assert_problem(answer, 400, "malformed_request")
    assert "connection" not in answer.headers


@pytest.mark.parametrize("length", ["-1", "a", "9" * 30, "9" * 5000, "1e3", ""])
async def test_an_odd_length_is_no_length(client: httpx.AsyncClient, length: str) -> None:
    answer = await client.post(
        paths.CHECK_CREDENTIALS, content=_pieces(17), headers=_JSON | {"Content-Length": length}
    )

    assert_problem(answer, 413, "body_too_large")


async def test_a_stranger_with_a_short_body_keeps_the_connection(world: World) -> None:
    """The provider with a wrong token asks again and again, and need not connect anew."""
    async with world.client() as client:
        del client.headers["Authorization"]
        answer = await client.post(paths.CHECK_CREDENTIALS, content=b"{}", headers=_JSON)

    assert_problem(answer, 401, "caller_unknown")
    assert "connection" not in answer.headers
