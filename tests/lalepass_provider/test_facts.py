"""Facts about Synapse that the module relies on, as far as its parts show them by themselves.

The numbers are those of docs/lessons.md. Should one of these fail with a new release, what is built
on it is to be looked at again.
"""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from synapse.api.errors import LimitExceededError, LoginError, SynapseError
from synapse.handlers.auth import PasswordAuthProvider
from synapse.http import server
from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    LoggingContext,
    make_deferred_yieldable,
)
from synapse.metrics.background_process_metrics import run_as_background_process
from synapse.module_api import ModuleApi
from synapse.storage.database import DatabasePool
from twisted.internet import defer

from lalepass_provider.background import SynapseBackground
from tests.lalepass_provider.on_reactor import on_reactor, reactor

RAISED = [
    RuntimeError("a fault"),
    SynapseError(503, "not available"),
    LoginError(403, "no"),
    LimitExceededError("login"),
]


@pytest.mark.parametrize("fault", RAISED, ids=lambda fault: type(fault).__name__)
def test_s2_what_a_checker_raises_counts_as_no(fault: Exception) -> None:
    """And so, without the trick of S4, an outage would be a wrong password."""

    async def fail(*_: object) -> Any:
        raise fault

    provider = PasswordAuthProvider()
    provider.register_password_auth_provider_callbacks(
        auth_checkers={("m.login.password", ("password",)): fail}, check_3pid_auth=fail
    )
    told: list[object] = []
    for asked in (
        provider.check_auth("bob", "m.login.password", {"password": "x"}),
        provider.check_3pid_auth("email", "bob@x.org", "x"),
    ):
        defer.ensureDeferred(asked).addBoth(told.append)

    assert told == [None, None]


class Pool:
    """The reactor's threads, all of them stuck."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, ...]] = []

    def callInThreadWithCallback(self, done: Any, work: Any, *args: Any, **_: Any) -> None:  # noqa: N802 - Twisted's name
        self.waiting.append((done, work, args))


def test_s7_answers_are_encoded_on_the_reactors_default_threads() -> None:
    """So that ten calls which hang there stop the homeserver as a whole."""
    pool = Pool()
    request = SimpleNamespace(reactor=SimpleNamespace(getThreadPool=lambda: pool))
    encoded: list[Any] = []

    async def answer() -> None:
        def encode(what: Any) -> bytes:
            encoded.append(what)
            return json.dumps(what).encode()

        with LoggingContext(name="request", server_name="hs.example"):
            await server._async_write_json_to_request_in_thread(  # noqa: SLF001 - the fact itself
                cast("Any", request), encode, {"versions": []}
            )

    answered = defer.ensureDeferred(answer())
    assert len(pool.waiting) == 1
    assert encoded == []

    answered.addErrback(lambda _: None)
    answered.cancel()


@on_reactor
async def test_s7_the_module_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("the threads that encode everybody's answers")

    class Homeserver:
        def run_as_background_process(self, name: Any, work: Any) -> Any:
            return run_as_background_process(name, "hs.example", work)

    monkeypatch.setattr(reactor, "getThreadPool", refuse)
    it = SynapseBackground(cast("Any", Homeserver()))

    assert await it.in_thread(lambda: 6 * 7) == 42


def test_s9_the_older_way_to_register_makes_a_session_that_nobody_asked_for() -> None:
    """So it is `register_user` that is called."""
    made: list[str] = []

    class Api:
        async def register_user(self, localpart: str, *_: Any) -> str:
            return f"@{localpart}:hs.example"

        async def register_device(self, user_id: str, *_: Any) -> Any:
            made.append(user_id)
            return "DEVICE", "token", None, None

    register = cast("Any", ModuleApi.register)
    defer.ensureDeferred(register(Api(), "bob"))

    assert made == ["@bob:hs.example"]


@pytest.mark.parametrize("interaction", ["runInteraction", "run_db_interaction"])
def test_a_transaction_is_not_ended_by_a_cancellation(interaction: str) -> None:
    """It is raised when the database has answered, and not before."""
    thread: defer.Deferred[int] = defer.Deferred()

    class Database(DatabasePool):
        def __init__(self) -> None:
            """Without a database."""

        async def runWithConnection(self, *_: Any, **__: Any) -> Any:  # noqa: N802 - Synapse's name
            return await make_deferred_yieldable(thread)

    class Api(ModuleApi):
        def __init__(self) -> None:
            self._store = cast("Any", SimpleNamespace(db_pool=Database()))

    async def ask() -> object:
        with LoggingContext(name="asks", server_name="hs.example"):
            if interaction == "runInteraction":
                return await Database().runInteraction("hangs", lambda _: 7)
            return await Api().run_db_interaction("hangs", lambda _: 7)

    ended: list[Any] = []
    asked = defer.ensureDeferred(ask())
    asked.addBoth(ended.append)
    asked.cancel()
    assert ended == []

    thread.callback(7)
    (failure,) = ended
    assert failure.check(defer.CancelledError)
