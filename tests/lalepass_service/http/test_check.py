import httpx
import pytest

from lalepass_service.core.errors import Overloaded, StoreUnavailable, UnreadableRecord
from lalepass_service.core.model import Password, PasswordRecord
from lalepass_wire import parse_answer
from tests.lalepass_service.accounts import ACT, a_user
from tests.lalepass_service.http.world import (
    PASSWORD,
    WRONG,
    HangingUsers,
    World,
    a_check,
    assert_problem,
    check,
)

pytestmark = pytest.mark.anyio

_BY_EVERY_NAME = [
    {"kind": "user", "localpart": "alice"},
    {"kind": "email", "address": "Alice@Example.ORG"},
    {"kind": "phone", "number": "491701234567"},
]


@pytest.mark.parametrize("identifier", _BY_EVERY_NAME, ids=lambda each: each["kind"])
async def test_the_right_password_is_accepted_by_every_name(
    client: httpx.AsyncClient, identifier: dict[str, str]
) -> None:
    answer = await check(client, {"identifier": identifier, "password": PASSWORD})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "result": "accepted",
        "user": {
            "id": "id-alice",
            "localpart": "alice",
            "display_name": "Alice",
            "emails": ["alice@example.org"],
            "phones": ["491701234567"],
            "admin": True,
        },
    }
    parse_answer(answer.content)


@pytest.mark.parametrize("localpart", ["alice", "nobody", "gone", "stale"])
async def test_every_wrong_password_gets_the_same_bytes(
    client: httpx.AsyncClient, localpart: str
) -> None:
    answer = await check(client, a_check(localpart, WRONG))

    assert answer.status_code == 200
    assert answer.content == b'{"result":"refused","reason":"credentials"}'


async def test_a_disabled_account_is_told_so_after_the_right_password(
    client: httpx.AsyncClient,
) -> None:
    answer = await check(client, a_check("gone"))

    assert answer.json() == {"result": "refused", "reason": "disabled"}


async def test_a_password_that_has_to_be_changed_is_said_to_be_so(
    client: httpx.AsyncClient,
) -> None:
    answer = await check(client, a_check("stale"))

    assert answer.json() == {"result": "refused", "reason": "password_change_required"}


async def test_an_address_that_the_rules_refuse_is_an_unknown_account(
    client: httpx.AsyncClient, world: World
) -> None:
    # 254 code points in the contract, 330 once their case is folded
    address = "ŉ" * 76 + "@" + "a" * 177
    answer = await check(
        client, {"identifier": {"kind": "email", "address": address}, "password": PASSWORD}
    )

    assert answer.json() == {"result": "refused", "reason": "credentials"}
    assert world.hasher.calls == 1


async def test_the_source_of_the_password_may_be_given(client: httpx.AsyncClient) -> None:
    source = {"ip": "2001:db8::1", "user_agent": "Element/1.11"}

    assert (await check(client, a_check(source=source))).json()["result"] == "accepted"


async def test_an_overload_is_no_refusal(client: httpx.AsyncClient, world: World) -> None:
    world.hasher.failure = Overloaded(retry_after=1.2)
    answer = await check(client)

    problem = assert_problem(answer, 503, "overloaded")
    assert problem["retry_after_seconds"] == 1.2
    assert answer.headers["retry-after"] == "2"


async def test_a_lost_database_is_no_refusal(client: httpx.AsyncClient, world: World) -> None:
    world.users.failure = StoreUnavailable()
    answer = await check(client)

    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_lost_database_is_no_reason_to_reject_a_token(
    client: httpx.AsyncClient, world: World
) -> None:
    world.callers.failure = StoreUnavailable()

    assert_problem(await check(client), 503, "unavailable")


async def test_a_broken_record_is_no_refusal(client: httpx.AsyncClient, world: World) -> None:
    record = PasswordRecord("$unknown$")
    await world.users.add(a_user("broken"), record, reuse_name=False, act=ACT)
    answer = await check(client, a_check("broken"))

    problem = assert_problem(answer, 503, "unavailable")
    assert "detail" not in problem
    with pytest.raises(UnreadableRecord):
        await world.hasher.verify(Password(PASSWORD), record, account="alice")


async def test_a_check_that_takes_too_long_is_no_refusal(world: World) -> None:
    world.users = HangingUsers()
    async with world.client(request_timeout=0.05) as client:
        assert_problem(await check(client), 503, "unavailable")
        metrics = (await client.get("/metrics")).text

    assert 'lalepass_checks_total{code="unavailable",outcome="no_answer"} 1.0' in metrics


async def test_where_there_is_no_room_the_body_is_not_even_read(world: World) -> None:
    world.full = Overloaded(retry_after=3)
    async with world.client() as client:
        problem = assert_problem(await check(client, {"not": "a check"}), 503, "overloaded")
        metrics = (await client.get("/metrics")).text

    assert problem["retry_after_seconds"] == 3
    assert world.throttle.hits == []
    assert 'lalepass_checks_total{code="overloaded",outcome="no_answer"} 1.0' in metrics


async def test_a_stranger_is_not_told_that_there_is_no_room(world: World) -> None:
    world.full = Overloaded(retry_after=3)
    async with world.client() as client:
        del client.headers["Authorization"]
        assert_problem(await check(client), 401, "caller_unknown")
