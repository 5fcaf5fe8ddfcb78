import httpx
import pytest
import structlog

from lalepass_wire import paths
from lalepass_wire.limits import REQUEST_ID_HEADER
from tests.lalepass_service.http.world import World

pytestmark = pytest.mark.anyio


async def test_a_well_formed_id_is_taken_over(client: httpx.AsyncClient) -> None:
    answer = await client.get(paths.HEALTH_LIVE, headers={REQUEST_ID_HEADER: "POST-17.a_b"})

    assert answer.headers[REQUEST_ID_HEADER] == "POST-17.a_b"


@pytest.mark.parametrize("given", [b"", b"a b", b"a" * 65, b'a"b', "ä".encode(), b"a;b", b"../a"])
async def test_any_other_id_is_replaced(client: httpx.AsyncClient, given: bytes) -> None:
    answers = [
        await client.get(paths.HEALTH_LIVE, headers={REQUEST_ID_HEADER.encode(): given})
        for _ in range(2)
    ]

    ids = [answer.headers[REQUEST_ID_HEADER] for answer in answers]
    assert ids[0] != ids[1]
    assert all(len(one) == 32 for one in ids)


async def test_two_ids_are_none(client: httpx.AsyncClient) -> None:
    headers = [(REQUEST_ID_HEADER, "one"), (REQUEST_ID_HEADER, "two")]
    answer = await client.get(paths.HEALTH_LIVE, headers=headers)

    assert answer.headers[REQUEST_ID_HEADER] not in {"one", "two"}


async def test_problems_have_an_id_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere", headers={REQUEST_ID_HEADER: "seventeen"})

    assert answer.headers[REQUEST_ID_HEADER] == "seventeen"


async def test_the_id_does_not_outlive_its_request(world: World) -> None:
    async with world.client() as client:
        await client.get(paths.HEALTH_LIVE)

    assert "request_id" not in structlog.contextvars.get_contextvars()
