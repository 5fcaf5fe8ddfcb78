"""Every way in which an exchange can end, and what it means above."""

from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from twisted.internet import defer

from lalepass_provider.client import LalepassClient
from lalepass_provider.errors import (
    Broken,
    CallerRejected,
    ContractBroken,
    NoAnswer,
    NotServed,
    Overloaded,
    ScopeMissing,
    Throttled,
    Unreachable,
)
from lalepass_provider.metrics import Metrics
from lalepass_provider.transport import Answer, Request
from lalepass_wire import (
    Accepted,
    CheckRequest,
    EmailIdentifier,
    Refused,
    UserIdentifier,
)
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.scripted import (
    TOKEN,
    ScriptedTransport,
    answer,
    calls_of,
    client_of,
    problem,
)

PASSWORD = "password-canary"
ALICE = {"id": "1", "localpart": "alice"}


def check_of(localpart: str = "alice") -> CheckRequest:
    return CheckRequest(
        identifier=UserIdentifier(localpart=localpart), password=SecretStr(PASSWORD)
    )


async def answer_to(response: Answer, check: CheckRequest | None = None) -> Any:
    client = client_of(lambda _: response)
    return await client.check(check or check_of(), request_id=None)


@on_reactor
async def test_the_request_is_the_one_of_the_contract() -> None:
    endpoint = ScriptedTransport(lambda _: answer(200, {"result": "refused"}))

    await client_of(endpoint).check(check_of(), request_id="POST-7")

    (request,) = endpoint.requests
    assert (request.method, request.target) == ("POST", "/v1/credentials/check")
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["X-Request-ID"] == "POST-7"
    assert TOKEN not in repr(request)
    assert PASSWORD not in repr(request)
    assert CheckRequest.model_validate_json(request.body) == check_of()


@on_reactor
async def test_yes_is_a_value() -> None:
    said = await answer_to(answer(200, {"result": "accepted", "user": ALICE}))

    assert isinstance(said, Accepted)
    assert said.user.localpart == "alice"


@on_reactor
async def test_no_is_a_value() -> None:
    said = await answer_to(answer(200, {"result": "refused"}))

    assert isinstance(said, Refused)


@on_reactor
async def test_an_answer_about_another_account_is_not_believed() -> None:
    response = answer(200, {"result": "accepted", "user": ALICE})

    with pytest.raises(ContractBroken, match="another account"):
        await answer_to(response, check_of("bob"))


@on_reactor
async def test_an_address_may_be_anybodys() -> None:
    response = answer(200, {"result": "accepted", "user": ALICE})
    check = CheckRequest(
        identifier=EmailIdentifier(address="someone@x.org"), password=SecretStr(PASSWORD)
    )

    assert isinstance(await answer_to(response, check), Accepted)


@pytest.mark.parametrize(
    ("response", "kind", "retry_after"),
    [
        (problem(429, "throttled", 7), Throttled, 7),
        (problem(429, "throttled", 1e12), Throttled, 3600),
        (problem(429, "throttled", "soon"), Throttled, None),
        (problem(429, "throttled", "nan"), Throttled, None),
        (problem(429, "throttled", -1), Throttled, None),
        (problem(503, "overloaded", 2), Overloaded, 2),
        (problem(503, "unavailable", 9), Unreachable, 9),
        (problem(500, "internal"), Unreachable, None),
        (answer(502, b"<h1>Bad gateway</h1>", kind="text/html"), Unreachable, None),
        (problem(401, "caller_unknown"), CallerRejected, None),
        (problem(403, "scope_missing"), ScopeMissing, None),
        (problem(400, "malformed_request"), NotServed, None),
        (problem(404, "not_found"), NotServed, None),
        (answer(302, b"", Location="https://evil.example"), ContractBroken, None),
        (answer(204, b""), ContractBroken, None),
        (answer(200, b""), ContractBroken, None),
        (answer(200, b"<h1>It works!</h1>", kind="text/html"), ContractBroken, None),
        (answer(200, b"\xff\xfe"), ContractBroken, None),
        (answer(200, {"result": "refused"}, kind="text/plain"), ContractBroken, None),
        (answer(200, None), ContractBroken, None),
        (answer(200, []), ContractBroken, None),
        (answer(200, {}), ContractBroken, None),
        (answer(200, {"result": "maybe"}), ContractBroken, None),
        (answer(200, {"result": True}), ContractBroken, None),
        (answer(200, {"result": "accepted"}), ContractBroken, None),
        (answer(200, {"result": "accepted", "user": None}), ContractBroken, None),
        (
            answer(200, {"result": "accepted", "user": {"id": "1", "localpart": ""}}),
            ContractBroken,
            None,
        ),
        (
            answer(200, {"result": "accepted", "user": {"id": "1", "localpart": "@alice:evil"}}),
            ContractBroken,
            None,
        ),
    ],
)
@on_reactor
async def test_what_is_no_answer_is_raised(
    response: Answer, kind: type[NoAnswer], retry_after: float | None
) -> None:
    with pytest.raises(kind) as raised:
        await answer_to(response)

    assert type(raised.value) is kind
    assert raised.value.retry_after == retry_after
    assert TOKEN not in repr(raised.value)
    assert PASSWORD not in repr(raised.value)


@on_reactor
async def test_no_more_than_so_many_checks_are_under_way() -> None:
    waiting: list[defer.Deferred[Answer]] = []

    def hold(_: Request) -> "defer.Deferred[Answer]":
        waiting.append(defer.Deferred())
        return waiting[-1]

    client = client_of(hold, max_in_flight=2)
    running = [defer.ensureDeferred(client.check(check_of(), request_id=None)) for _ in range(2)]

    with pytest.raises(Overloaded):
        await client.check(check_of(), request_id=None)
    assert len(waiting) == 2

    waiting[0].callback(answer(200, {"result": "refused"}))
    waiting[1].errback(Broken("cut off"))
    assert isinstance(await running[0], Refused)
    with pytest.raises(Unreachable):
        await running[1]
    third = defer.ensureDeferred(client.check(check_of(), request_id=None))
    waiting[2].callback(answer(200, {"result": "refused"}))
    assert isinstance(await third, Refused)


@on_reactor
async def test_an_operator_never_reads_what_a_stranger_answered() -> None:
    body = {"type": "x", "title": PASSWORD, "status": 503, "code": f"{PASSWORD}\nFAKE LOG LINE"}

    with pytest.raises(NoAnswer) as raised:
        await answer_to(answer(503, body))

    assert str(raised.value) == "one:1: the service answered 503"


def values(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """Return what a metric has counted, by the values of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name and sample.value
    }


@on_reactor
async def test_what_came_of_checks_is_counted() -> None:
    said: list[Answer] = [
        answer(200, {"result": "accepted", "user": ALICE}),
        answer(200, {"result": "refused"}),
        answer(200, {"result": "refused", "reason": "disabled"}),
        answer(200, {"result": "refused", "reason": "password_change_required"}),
        problem(429, "throttled", 7),
        problem(401, "caller_unknown"),
        answer(200, {}),
    ]
    expected = len(said)
    registry = CollectorRegistry()
    client = LalepassClient(
        calls_of(ScriptedTransport(lambda _: said.pop(0))), metrics=Metrics(registry)
    )
    while said:
        with suppress(NoAnswer):
            await client.check(check_of(), request_id=None)

    assert values(registry, "lalepass_provider_checks_total") == {
        ("accepted", ""): 1,
        ("refused", ""): 1,
        ("disabled", ""): 1,
        ("must_change", ""): 1,
        ("throttled", ""): 1,
        ("no_answer", "CallerRejected"): 1,
        ("no_answer", "ContractBroken"): 1,
    }
    assert values(registry, "lalepass_provider_check_seconds_count") == {(): expected}
    assert values(registry, "lalepass_provider_checks_in_flight") == {}
