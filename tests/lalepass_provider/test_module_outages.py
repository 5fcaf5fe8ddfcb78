"""What a person is told who could not be let in for no fault of theirs."""

from collections.abc import Callable
from typing import Any

import pytest
from synapse.api.errors import SynapseError

from lalepass_provider.honest import HonestError
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.logins import (
    ALICE,
    PASSWORD,
    fail,
    in_one_request,
    load,
    log_in,
    problem,
    says,
)
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.servers import Connection, serving


def hangs(_: Connection, __: bytes) -> None:
    """Say nothing."""


def patience_with(behaviour: object) -> float:
    """Return a timeout that only a service meets that hangs, also on a busy machine."""
    return 0.3 if behaviour is hangs else 30.0


OUTAGES: dict[str, tuple[Callable[[Connection, bytes], None], str]] = {
    "hangs up": (lambda connection, _: connection.abort(), "5"),
    "hangs": (hangs, "5"),
    "talks nonsense": (lambda connection, _: connection.answer(b"<html>"), "5"),
    "has a fault": (problem(b"500 Oops", "internal"), "5"),
    "is busy": (problem(b"503 Busy", "overloaded", b"Retry-After: 2\r\n"), "2"),
    "is busy for a moment": (problem(b"503 Busy", "overloaded", b"Retry-After: 1.2\r\n"), "2"),
    "does not know us": (problem(b"401 Who", "caller_unknown"), "5"),
    "is something else": (problem(b"404 What", "not_found"), "5"),
}


@pytest.mark.parametrize(("behaviour", "retry_after"), OUTAGES.values(), ids=OUTAGES)
@on_reactor
async def test_an_outage_is_told_as_one(behaviour: Any, retry_after: str) -> None:
    async with serving(behaviour) as server:
        by_name, by_threepid = load(server, timeout=patience_with(behaviour))
        for call in (log_in(by_name), by_threepid("email", "a@x.org", PASSWORD)):
            with pytest.raises(HonestError) as told:
                await call

            assert (told.value.code, told.value.errcode) == (503, "M_UNKNOWN")
            assert told.value.headers == {"Retry-After": retry_after}
            assert "could not be checked" in told.value.msg


@pytest.mark.parametrize(("behaviour", "_"), OUTAGES.values(), ids=OUTAGES)
@on_reactor
async def test_with_try_local_an_outage_sends_synapse_to_its_own_database(
    behaviour: Any, _: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(behaviour) as server:
        by_name, by_threepid = load(
            server, timeout=patience_with(behaviour), unavailable="try_local"
        )

        assert await log_in(by_name) is None
        assert await by_threepid("email", "a@x.org", PASSWORD) is None

    assert "No answer from Lalepass" in caplog.text


@on_reactor
async def test_with_try_local_who_has_to_wait_has_to_wait() -> None:
    """It is an answer. And the homeserver's database would be a way round it."""
    behaviour = problem(b"429 Slow", "throttled", b"Retry-After: 30\r\n")
    async with serving(behaviour) as server:
        by_name, _ = load(server, unavailable="try_local")

        with pytest.raises(HonestError) as told:
            await log_in(by_name)

    assert told.value.code == 429


@on_reactor
async def test_with_try_local_a_fault_after_the_answer_is_told() -> None:
    homeserver = FakeHomeserver()
    homeserver.before_registering = lambda: fail(PASSWORD)
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server, homeserver, unavailable="try_local")

        with pytest.raises(HonestError) as told:
            await log_in(by_name)

    assert told.value.code == 503


@on_reactor
async def test_with_try_local_an_outage_is_waited_for_once_in_a_request() -> None:
    async with serving(OUTAGES["talks nonsense"][0]) as server:
        by_name, by_threepid = load(server, unavailable="try_local")

        async def address() -> Any:
            return await by_threepid("email", "a@x.org", PASSWORD)

        assert await in_one_request(address, lambda: log_in(by_name)) == [None, None]
        assert len(server.requests) == 1


@on_reactor
async def test_a_throttle_is_told_as_one() -> None:
    behaviour = problem(b"429 Slow", "throttled", b"Retry-After: 30\r\n")
    async with serving(behaviour) as server:
        by_name, _ = load(server)

        with pytest.raises(HonestError) as told:
            await log_in(by_name)

    assert (told.value.code, told.value.errcode) == (429, "M_LIMIT_EXCEEDED")
    assert told.value.error_dict(None)["retry_after_ms"] == 30_000
    assert told.value.headers == {"Retry-After": "30"}


@on_reactor
async def test_what_the_homeserver_says_against_an_account_reaches_the_person() -> None:
    homeserver = FakeHomeserver()
    homeserver.refuse = SynapseError(403, "This server is full", "M_RESOURCE_LIMIT_EXCEEDED")
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server, homeserver)

        with pytest.raises(HonestError) as told:
            await log_in(by_name)

    assert (told.value.code, told.value.errcode) == (403, "M_RESOURCE_LIMIT_EXCEEDED")
    assert told.value.msg == "This server is full"


@on_reactor
async def test_a_fault_of_the_homeserver_is_not_told_as_a_wrong_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    homeserver = FakeHomeserver()

    def fault() -> None:
        raise RuntimeError("the database is on fire")

    homeserver.before_registering = fault
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server, homeserver)

        with pytest.raises(HonestError) as told:
            await log_in(by_name)

    assert told.value.code == 503
    assert "on fire" in caplog.text
