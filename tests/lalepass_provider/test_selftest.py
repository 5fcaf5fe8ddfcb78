"""What the module finds out when the homeserver starts: both ways of each finding."""

import json
import logging
from typing import Any

import pytest
from synapse.api.errors import SynapseError
from synapse.handlers.auth import PasswordAuthProvider
from twisted.internet import defer

from lalepass_provider import selftest
from lalepass_provider.honest import HonestError
from tests.lalepass_provider import loaded
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.servers import Behaviour, Connection, serving

TOKEN = "lalepass_0123456789ab_" + "t" * 43
FACTS = {
    "name": "my-homeserver",
    "scopes": ["check", "feed"],
    "service_version": "9.8.7",
    "server_time": "2026-11-23T08:28:10Z",
}


def test_an_honest_error_is_both_that_synapse_looks_for() -> None:
    """S4: `check_auth` lets a cancellation pass, `return_json_error` renders a SynapseError."""
    assert issubclass(HonestError, SynapseError)
    assert issubclass(HonestError, defer.CancelledError)


def test_this_synapse_passes_honest_errors_on(caplog: pytest.LogCaptureFixture) -> None:
    assert selftest.honest_errors_pass()

    assert caplog.records == []


async def swallows(*_: object) -> None:
    """What a later Synapse might do with whatever a checker raises."""


async def translates(*_: object) -> None:
    raise SynapseError(403, "Invalid username or password")


async def hangs(*_: object) -> None:
    await defer.Deferred()


@pytest.mark.parametrize("method", ["check_auth", "check_3pid_auth"])
@pytest.mark.parametrize("behaviour", [swallows, translates, hangs])
def test_a_synapse_that_does_not_is_found_out(
    monkeypatch: pytest.MonkeyPatch, method: str, behaviour: Any
) -> None:
    monkeypatch.setattr(PasswordAuthProvider, method, behaviour)

    assert not selftest.honest_errors_pass()


def test_a_synapse_without_the_class_counts_as_one_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("synapse.handlers.auth.PasswordAuthProvider")

    assert not selftest.honest_errors_pass()


def test_the_probe_is_seen_by_no_other_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs on an object of its own, so the callbacks of others are not there."""
    asked: list[PasswordAuthProvider] = []
    original = PasswordAuthProvider.check_auth

    async def watched(self: PasswordAuthProvider, *args: Any) -> Any:
        asked.append(self)
        return await original(self, *args)

    monkeypatch.setattr(PasswordAuthProvider, "check_auth", watched)
    selftest.honest_errors_pass()

    (provider,) = asked
    assert [len(found) for found in provider.auth_checker_callbacks.values()] == [1]


def load(url: str, **options: Any) -> FakeHomeserver:
    homeserver = FakeHomeserver()
    loaded.load(homeserver, url=url, token=TOKEN, **options)
    return homeserver


@on_reactor
async def test_where_they_do_not_come_through_the_module_refuses_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PasswordAuthProvider, "check_auth", swallows)
    callbacks = load("http://127.0.0.1:1").callbacks
    by_name = callbacks["auth_checkers"]["m.login.password", ("password",)]

    assert await by_name("alice", "m.login.password", {"password": "secret-canary"}) is None
    assert await callbacks["check_3pid_auth"]("email", "a@x.org", "secret-canary") is None
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "does not pass on why a password was not checked" in error.getMessage()
    assert "Refused, since this Synapse can't pass on: 503" in caplog.text
    assert "secret-canary" not in caplog.text


@on_reactor
async def test_a_true_cancellation_stays_one() -> None:
    async def cancelled(*_: object) -> None:
        raise defer.CancelledError

    with pytest.raises(defer.CancelledError):
        await selftest.refusing(cancelled)()


def says_nothing(_: Connection, __: bytes) -> None:
    """The service hangs."""


async def hello(behaviour: Behaviour) -> None:
    timeout = 0.3 if behaviour is says_nothing else 30.0
    async with serving(behaviour) as server:
        function, arguments = load(server.url, timeout=timeout).background["lalepass_start"]
        await function(*arguments)


def answers(document: object, status: bytes = b"200 OK") -> Behaviour:
    body = json.dumps(document).encode()
    return lambda connection, _: connection.answer(body, status=status)


def the_line(caplog: pytest.LogCaptureFixture) -> tuple[int, str]:
    """Return the one line that the module wrote."""
    (record,) = [found for found in caplog.records if found.name == "lalepass_provider.selftest"]
    assert record.exc_info is None
    assert TOKEN not in caplog.text
    return record.levelno, record.getMessage()


@on_reactor
async def test_one_line_says_what_it_is_connected_to(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await hello(answers(FACTS))

    level, line = the_line(caplog)
    assert level == logging.INFO
    assert "version 9.8.7, as 'my-homeserver' with the scopes check, feed" in line


@on_reactor
async def test_a_token_that_is_not_for_checks_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    await hello(answers({**FACTS, "scopes": []}))

    level, line = the_line(caplog)
    assert level == logging.ERROR
    assert line.endswith("with the scopes none; nobody can log in without the scope check")


PROBLEM = {"type": "x", "title": "x", "status": 401, "code": "caller_unknown"}


@pytest.mark.parametrize(
    ("behaviour", "level", "words"),
    [
        (answers(PROBLEM, b"401 Who"), logging.ERROR, "does not accept the token"),
        (answers({"hello": "world"}), logging.ERROR, "no Lalepass service that this module"),
        (answers({}, b"404 What"), logging.ERROR, "no Lalepass service that this module"),
        (answers({}, b"503 Busy"), logging.WARNING, "can't be reached just now"),
        (lambda connection, _: connection.abort(), logging.WARNING, "can't be reached just now"),
        (says_nothing, logging.WARNING, "can't be reached just now"),
    ],
    ids=["wrong token", "something else", "an older one", "busy", "hangs up", "hangs"],
)
@on_reactor
async def test_what_is_wrong_is_said_at_the_start_and_stops_nothing(
    caplog: pytest.LogCaptureFixture, behaviour: Behaviour, level: int, words: str
) -> None:
    await hello(behaviour)

    found, line = the_line(caplog)
    assert found == level
    assert words in line


@on_reactor
async def test_nothing_is_asked_before_the_homeserver_has_started() -> None:
    async with serving(answers(FACTS)) as server:
        load(server.url)

        assert server.requests == []
