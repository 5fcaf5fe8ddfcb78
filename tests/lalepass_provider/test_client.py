"""Every way in which an exchange can end, and what it means above."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from twisted.internet import defer

from lalepass_provider.calls import Calls
from lalepass_provider.client import LalepassClient
from lalepass_provider.errors import (
    CallerRejected,
    ContractBroken,
    NoAnswer,
    Overloaded,
    ScopeMissing,
    Throttled,
    Unreachable,
)
from lalepass_wire import (
    Accepted,
    CheckRequest,
    EmailIdentifier,
    Refused,
    UserIdentifier,
)
from tests.lalepass_provider.on_reactor import on_reactor

TOKEN = "token-canary"
PASSWORD = "password-canary"
ALICE = {"id": "1", "localpart": "alice"}


def make_client(
    transport: httpx.AsyncBaseTransport | Callable[[httpx.Request], Any], *, max_in_flight: int = 4
) -> LalepassClient:
    if not isinstance(transport, httpx.AsyncBaseTransport):
        transport = httpx.MockTransport(transport)
    return LalepassClient(
        Calls(
            base_url="https://auth.example",
            token=SecretStr(TOKEN),
            transport=transport,
            deadline=5.0,
            max_in_flight=max_in_flight,
        )
    )


def check_of(localpart: str = "alice") -> CheckRequest:
    return CheckRequest(
        identifier=UserIdentifier(localpart=localpart), password=SecretStr(PASSWORD)
    )


async def answer_to(response: httpx.Response, check: CheckRequest | None = None) -> Any:
    client = make_client(lambda _: response)
    return await client.check(check or check_of(), request_id=None)


@on_reactor
async def test_the_request_is_the_one_of_the_contract() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"result": "refused"})

    await make_client(handle).check(check_of(), request_id="POST-7")

    (request,) = seen
    assert str(request.url) == "https://auth.example/v1/credentials/check"
    assert request.method == "POST"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["X-Request-ID"] == "POST-7"
    assert CheckRequest.model_validate_json(request.content) == check_of()


@on_reactor
async def test_yes_is_a_value() -> None:
    answer = await answer_to(httpx.Response(200, json={"result": "accepted", "user": ALICE}))

    assert isinstance(answer, Accepted)
    assert answer.user.localpart == "alice"


@on_reactor
async def test_no_is_a_value() -> None:
    answer = await answer_to(httpx.Response(200, json={"result": "refused"}))

    assert isinstance(answer, Refused)


@on_reactor
async def test_an_answer_about_another_account_is_not_believed() -> None:
    response = httpx.Response(200, json={"result": "accepted", "user": ALICE})

    with pytest.raises(ContractBroken, match="another account"):
        await answer_to(response, check_of("bob"))


@on_reactor
async def test_an_address_may_be_anybodys() -> None:
    response = httpx.Response(200, json={"result": "accepted", "user": ALICE})
    check = CheckRequest(
        identifier=EmailIdentifier(address="someone@x.org"), password=SecretStr(PASSWORD)
    )

    assert isinstance(await answer_to(response, check), Accepted)


def problem(status: int, code: str, **more: Any) -> httpx.Response:
    headers = {"Retry-After": str(more.pop("retry_after"))} if "retry_after" in more else {}
    body = {"type": f"urn:lalepass:problem:{code}", "title": "", "status": status, "code": code}
    return httpx.Response(status, json=body, headers=headers)


@pytest.mark.parametrize(
    ("response", "kind", "retry_after"),
    [
        (problem(429, "throttled", retry_after=7), Throttled, 7),
        (problem(429, "throttled", retry_after=1e12), Throttled, 3600),
        (problem(429, "throttled", retry_after="soon"), Throttled, None),
        (problem(429, "throttled", retry_after="nan"), Throttled, None),
        (problem(429, "throttled", retry_after=-1), Throttled, None),
        (problem(503, "overloaded", retry_after=2), Overloaded, 2),
        (problem(503, "unavailable", retry_after=9), Unreachable, 9),
        (problem(500, "internal"), Unreachable, None),
        (httpx.Response(502, html="<h1>Bad gateway</h1>"), Unreachable, None),
        (problem(401, "caller_unknown"), CallerRejected, None),
        (problem(403, "scope_missing"), ScopeMissing, None),
        (problem(400, "malformed_request"), ContractBroken, None),
        (problem(404, "not_found"), ContractBroken, None),
        (httpx.Response(302, headers={"Location": "https://evil.example"}), ContractBroken, None),
        (httpx.Response(204), ContractBroken, None),
        (httpx.Response(200), ContractBroken, None),
        (httpx.Response(200, html="<h1>It works!</h1>"), ContractBroken, None),
        (httpx.Response(200, content=b"\xff\xfe"), ContractBroken, None),
        (httpx.Response(200, text='{"result": "refused"}'), ContractBroken, None),
        (httpx.Response(200, json=None), ContractBroken, None),
        (httpx.Response(200, json=[]), ContractBroken, None),
        (httpx.Response(200, json={}), ContractBroken, None),
        (httpx.Response(200, json={"result": "maybe"}), ContractBroken, None),
        (httpx.Response(200, json={"result": True}), ContractBroken, None),
        (httpx.Response(200, json={"result": "accepted"}), ContractBroken, None),
        (httpx.Response(200, json={"result": "accepted", "user": None}), ContractBroken, None),
        (
            httpx.Response(200, json={"result": "accepted", "user": {"id": "1", "localpart": ""}}),
            ContractBroken,
            None,
        ),
        (
            httpx.Response(
                200, json={"result": "accepted", "user": {"id": "1", "localpart": "@alice:evil"}}
            ),
            ContractBroken,
            None,
        ),
    ],
)
@on_reactor
async def test_what_is_no_answer_is_raised(
    response: httpx.Response, kind: type[NoAnswer], retry_after: float | None
) -> None:
    with pytest.raises(kind) as raised:
        await answer_to(response)

    assert type(raised.value) is kind
    assert raised.value.retry_after == retry_after
    assert TOKEN not in repr(raised.value)
    assert PASSWORD not in repr(raised.value)


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("cut off"),
        httpx.RemoteProtocolError("garbage"),
    ],
)
@on_reactor
async def test_what_the_transport_can_not_do_is_unreachable(fault: httpx.TransportError) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        raise fault

    with pytest.raises(Unreachable):
        await make_client(handle).check(check_of(), request_id=None)


class Held(httpx.AsyncBaseTransport):
    """Keeps every request waiting."""

    def __init__(self) -> None:
        self.waiting: list[defer.Deferred[httpx.Response]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - the interface
        held: defer.Deferred[httpx.Response] = defer.Deferred()
        self.waiting.append(held)
        return await held


@on_reactor
async def test_no_more_than_so_many_checks_are_under_way() -> None:
    transport = Held()
    client = make_client(transport, max_in_flight=2)
    running = [defer.ensureDeferred(client.check(check_of(), request_id=None)) for _ in range(2)]

    with pytest.raises(Overloaded):
        await client.check(check_of(), request_id=None)
    assert len(transport.waiting) == 2

    transport.waiting[0].callback(httpx.Response(200, json={"result": "refused"}))
    transport.waiting[1].errback(httpx.ReadError("cut off"))
    assert isinstance(await running[0], Refused)
    with pytest.raises(Unreachable):
        await running[1]
    third = defer.ensureDeferred(client.check(check_of(), request_id=None))
    transport.waiting[2].callback(httpx.Response(200, json={"result": "refused"}))
    assert isinstance(await third, Refused)


@on_reactor
async def test_an_operator_never_reads_what_a_stranger_answered() -> None:
    body = {"type": "x", "title": PASSWORD, "status": 503, "code": f"{PASSWORD}\nFAKE LOG LINE"}

    with pytest.raises(NoAnswer) as raised:
        await answer_to(httpx.Response(503, json=body))

    assert str(raised.value) == "the service answered 503"
