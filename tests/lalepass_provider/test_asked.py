"""What a request has asked already, and for how long that is known."""

from collections.abc import Callable
from typing import TypeVar

from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    ContextRequest,
    LoggingContext,
)

from lalepass_provider.asked import AskedBefore

T = TypeVar("T")

ALICE, BOB = "@alice:hs.example", "@bob:hs.example"


def a_request() -> ContextRequest:
    # Each is like every other one: they are told apart by which they are.
    return ContextRequest("POST-1", "192.0.2.1", "", None, None, "POST", "/", "1.1", "")


def during(request: ContextRequest, work: Callable[[], T]) -> T:
    with LoggingContext(name="login", server_name="hs.example", request=request):
        return work()


def test_a_request_knows_of_whom_it_has_asked_and_another_one_does_not() -> None:
    asked, first, second = AskedBefore(), a_request(), a_request()
    during(first, lambda: asked.note(ALICE))

    assert during(first, lambda: asked.about(ALICE))
    assert not during(first, lambda: asked.about(BOB))
    assert not during(second, lambda: asked.about(ALICE))


def test_an_outage_is_an_answer_about_everybody() -> None:
    asked, request = AskedBefore(), a_request()
    during(request, asked.note)

    assert during(request, lambda: asked.about(ALICE))
    assert during(request, lambda: asked.about(BOB))


def test_outside_of_requests_nothing_is_known() -> None:
    asked = AskedBefore()
    asked.note()

    assert not asked.about(ALICE)


def test_the_last_thousand_requests_are_remembered_and_no_more() -> None:
    asked, requests = AskedBefore(), [a_request() for _ in range(1001)]
    for request in requests:
        during(request, asked.note)

    assert [during(request, lambda: asked.about(ALICE)) for request in requests[:2]] == [
        False,
        True,
    ]
