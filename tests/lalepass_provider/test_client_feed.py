"""The client's side of the change feed, of orders and of reports."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from twisted.internet import defer
from twisted.internet.task import Clock

from lalepass_provider import follower
from lalepass_provider.client import LalepassClient
from lalepass_provider.errors import (
    CallerRejected,
    ContractBroken,
    CursorUnknown,
    NoAnswer,
    NotServed,
    ScopeMissing,
    Unreachable,
)
from lalepass_provider.metrics import Metrics
from lalepass_provider.transport import Answer, Request
from lalepass_wire import CheckRequest, UserIdentifier
from lalepass_wire.feed import Acknowledgement, Changes
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.scripted import (
    ScriptedTransport,
    answer,
    calls_of,
    client_of,
    problem,
)

ACCOUNT = {"id": "1", "localpart": "bob", "state": "disabled"}
ORDER = {"id": "o1", "account_id": "1", "localpart": "bob", "age_seconds": 3.5}


class Answering:
    """A client of a service that gives one answer to everything."""

    def __init__(self, said: Answer | dict[str, Any]) -> None:
        always = said if isinstance(said, Answer) else answer(200, said)
        self.endpoint = ScriptedTransport(lambda _: always)
        self.client = client_of(self.endpoint)

    @property
    def seen(self) -> list[Request]:
        return self.endpoint.requests

    @property
    def asked(self) -> Request:
        (request,) = self.seen
        return request


def params(request: Request) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.target).query))


@on_reactor
async def test_changes_are_asked_for_from_a_cursor() -> None:
    it = Answering({"cursor": "db-8", "accounts": [ACCOUNT], "sign_outs": [ORDER]})

    changes = await it.client.changes(after="db-7", wait=10, orders=True)

    assert it.asked.method == "GET"
    assert urlsplit(it.asked.target).path == "/v1/changes"
    assert params(it.asked) == {
        "after": "db-7",
        "wait": "10",
        "limit": "200",
        "orders": "true",
    }
    assert changes.accounts[0].locked
    assert changes.sign_outs[0].age_seconds == 3.5
    # it may take as long as the service was told to wait, and is longer than the answer to a check
    assert 10 < it.endpoint.seconds[0] < 15
    assert it.asked.max_answer_bytes == 4 * 1024 * 1024


@on_reactor
async def test_the_locked_are_asked_for_page_by_page() -> None:
    it = Answering({"cursor": "db-8", "localparts": ["bob"], "more": True})

    page = await it.client.locked(after=None)
    await it.client.locked(after="a+b/c")

    assert (page.localparts, page.more) == (("bob",), True)
    first, second = it.seen
    assert params(first) == {"limit": "10000"}
    assert params(second) == {"limit": "10000", "after": "a+b/c"}


@on_reactor
async def test_what_is_told_is_the_contracts() -> None:
    it = Answering({"result": "done"})

    await it.client.acknowledge(Acknowledgement(orders=("o1", "o2")))
    await it.client.report(b'{"reports":[]}')

    acknowledgement, reports = it.seen
    assert (acknowledgement.method, acknowledgement.target) == ("POST", "/v1/orders/acknowledge")
    assert json.loads(acknowledgement.body) == {"orders": ["o1", "o2"]}
    assert (reports.method, reports.target) == ("POST", "/v1/reports")
    assert reports.body == b'{"reports":[]}'


NO_ANSWERS = [
    (problem(410, "cursor_unknown"), CursorUnknown),
    (problem(403, "scope_missing"), ScopeMissing),
    (problem(401, "caller_unknown"), CallerRejected),
    (problem(404, "not_found"), NotServed),
    (answer(200, b"<h1>It works!</h1>", kind="text/html"), ContractBroken),
    (answer(204, b""), ContractBroken),
    (answer(200, []), ContractBroken),
]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        *NO_ANSWERS,
        (answer(200, {}), ContractBroken),
        (answer(200, {"cursor": "no cursor"}), ContractBroken),
    ],
)
@on_reactor
async def test_what_is_no_part_of_a_feed_is_no_answer(said: Answer, kind: type[NoAnswer]) -> None:
    client = Answering(said).client

    with pytest.raises(NoAnswer) as of_changes:
        await client.changes(after="db-1", wait=0, orders=False)
    with pytest.raises(NoAnswer) as of_locked:
        await client.locked(after=None)

    assert (type(of_changes.value), type(of_locked.value)) == (kind, kind)


@pytest.mark.parametrize(
    ("said", "kind"),
    [*NO_ANSWERS, (answer(200, {"result": "maybe"}), ContractBroken)],
)
@on_reactor
async def test_what_does_not_say_that_it_is_written_down_is_no_answer(
    said: Answer, kind: type[NoAnswer]
) -> None:
    client = Answering(said).client

    with pytest.raises(NoAnswer) as of_acknowledging:
        await client.acknowledge(Acknowledgement(orders=("o1",)))
    with pytest.raises(NoAnswer) as of_reporting:
        await client.report(b"{}")

    assert (type(of_acknowledging.value), type(of_reporting.value)) == (kind, kind)


def test_a_replica_that_vanishes_leaves_nobody_deaf_for_long() -> None:
    """Five seconds from a disable to the lock are promised, whatever becomes of a replica."""
    clock = Clock()
    news = answer(200, {"cursor": "db-8", "accounts": [ACCOUNT]})
    gone = ScriptedTransport(lambda _: defer.Deferred(), clock=clock, name="gone:1")
    well = ScriptedTransport(lambda _: news, clock=clock, name="well:1")
    client = LalepassClient(calls_of(gone, well), metrics=Metrics(CollectorRegistry()))

    asked = client.changes(after="db-7", wait=follower.WAIT, orders=False)
    answered = defer.Deferred.fromCoroutine(asked)
    assert (len(gone.requests), len(well.requests)) == (1, 0)
    clock.advance(4.5)

    told: list[Changes] = []
    answered.addCallback(told.append)
    assert [account.localpart for account in told[0].accounts] == ["bob"]


@on_reactor
async def test_what_a_feed_does_not_answer_takes_no_replica_from_the_checks() -> None:
    """As a replica whose feed is behind a proxy that allows no long polls."""

    def script(request: Request) -> Answer:
        if request.target.startswith("/v1/changes"):
            return answer(504, b"<html>", kind="text/html")
        return answer(200, {"result": "refused", "reason": "credentials"})

    replicas = [ScriptedTransport(script, name=f"{number}:1") for number in range(2)]
    client = LalepassClient(calls_of(*replicas), metrics=Metrics(CollectorRegistry()))
    for _ in range(4):
        with pytest.raises(Unreachable):
            await client.changes(after="db-7", wait=10, orders=False)

    check = CheckRequest(identifier=UserIdentifier(localpart="bob"), password=SecretStr("x" * 12))
    for _ in range(4):
        await client.check(check, request_id=None)

    checks = [sum(request.method == "POST" for request in replica.requests) for replica in replicas]
    assert checks == [2, 2]
