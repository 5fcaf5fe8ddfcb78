"""The client's side of the change feed, of orders and of reports."""

import json
from typing import Any

import httpx
import pytest

from lalepass_provider.errors import (
    CallerRejected,
    ContractBroken,
    CursorUnknown,
    NoAnswer,
    ScopeMissing,
)
from lalepass_wire.feed import Acknowledgement
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.test_client import make_client, problem

ACCOUNT = {"id": "1", "localpart": "bob", "state": "disabled"}
ORDER = {"id": "o1", "account_id": "1", "localpart": "bob", "age_seconds": 3.5}


class Answering:
    """A client of a service that gives one answer to everything."""

    def __init__(self, answer: httpx.Response | dict[str, Any]) -> None:
        self.seen: list[httpx.Request] = []
        self._answer = answer if isinstance(answer, httpx.Response) else None
        self._json = answer
        self.client = make_client(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return self._answer or httpx.Response(200, json=self._json)

    @property
    def asked(self) -> httpx.Request:
        (request,) = self.seen
        return request


@on_reactor
async def test_changes_are_asked_for_from_a_cursor() -> None:
    it = Answering({"cursor": "db-8", "accounts": [ACCOUNT], "sign_outs": [ORDER]})

    answer = await it.client.changes(after="db-7", wait=10, orders=True)

    assert it.asked.method == "GET"
    assert it.asked.url.path == "/v1/changes"
    assert dict(it.asked.url.params) == {
        "after": "db-7",
        "wait": "10",
        "limit": "200",
        "orders": "true",
    }
    assert answer.accounts[0].locked
    assert answer.sign_outs[0].age_seconds == 3.5
    # it may take as long as the service was told to wait, and is longer than the answer to a check
    assert it.asked.extensions["deadline"] > 10
    assert it.asked.extensions["max_answer_bytes"] == 4 * 1024 * 1024


@on_reactor
async def test_the_locked_are_asked_for_page_by_page() -> None:
    it = Answering({"cursor": "db-8", "localparts": ["bob"], "more": True})

    page = await it.client.locked(after=None)
    await it.client.locked(after="a+b/c")

    assert (page.localparts, page.more) == (("bob",), True)
    first, second = it.seen
    assert dict(first.url.params) == {"limit": "10000"}
    assert dict(second.url.params) == {"limit": "10000", "after": "a+b/c"}


@on_reactor
async def test_what_is_told_is_the_contracts() -> None:
    it = Answering({"result": "done"})

    await it.client.acknowledge(Acknowledgement(orders=("o1", "o2")))
    await it.client.report(b'{"reports":[]}')

    acknowledgement, reports = it.seen
    assert (acknowledgement.method, acknowledgement.url.path) == ("POST", "/v1/orders/acknowledge")
    assert json.loads(acknowledgement.content) == {"orders": ["o1", "o2"]}
    assert (reports.method, reports.url.path) == ("POST", "/v1/reports")
    assert reports.content == b'{"reports":[]}'


NO_ANSWERS = [
    (problem(410, "cursor_unknown"), CursorUnknown),
    (problem(403, "scope_missing"), ScopeMissing),
    (problem(401, "caller_unknown"), CallerRejected),
    (problem(404, "not_found"), ContractBroken),
    (httpx.Response(200, html="<h1>It works!</h1>"), ContractBroken),
    (httpx.Response(204), ContractBroken),
    (httpx.Response(200, json=[]), ContractBroken),
]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        *NO_ANSWERS,
        (httpx.Response(200, json={}), ContractBroken),
        (httpx.Response(200, json={"cursor": "no cursor"}), ContractBroken),
    ],
)
@on_reactor
async def test_what_is_no_part_of_a_feed_is_no_answer(
    answer: httpx.Response, kind: type[NoAnswer]
) -> None:
    client = Answering(answer).client

    with pytest.raises(NoAnswer) as of_changes:
        await client.changes(after="db-1", wait=0, orders=False)
    with pytest.raises(NoAnswer) as of_locked:
        await client.locked(after=None)

    assert (type(of_changes.value), type(of_locked.value)) == (kind, kind)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [*NO_ANSWERS, (httpx.Response(200, json={"result": "maybe"}), ContractBroken)],
)
@on_reactor
async def test_what_does_not_say_that_it_is_written_down_is_no_answer(
    answer: httpx.Response, kind: type[NoAnswer]
) -> None:
    client = Answering(answer).client

    with pytest.raises(NoAnswer) as of_acknowledging:
        await client.acknowledge(Acknowledgement(orders=("o1",)))
    with pytest.raises(NoAnswer) as of_reporting:
        await client.report(b"{}")

    assert (type(of_acknowledging.value), type(of_reporting.value)) == (kind, kind)
