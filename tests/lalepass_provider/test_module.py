"""What Synapse gets to see, with a service on loopback behind it."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY
from synapse.api.errors import SynapseError
from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    ContextRequest,
    LoggingContext,
    current_context,
)
from twisted.internet import defer

from lalepass_provider import LalepassProvider
from lalepass_provider.background import SynapseBackground
from lalepass_provider.honest import HonestError
from tests.lalepass_provider import loaded
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.servers import Connection, Server, serving

TOKEN = "lalepass_0123456789ab_" + "t" * 43
PASSWORD = "password-canary"
CHANGE_IT = "Your password has to be changed before you can log in."
ALICE = {"id": "1", "localpart": "alice", "display_name": "Alice"}

Checker = Callable[..., Awaitable[tuple[str, None] | None]]


def says(**answer: Any) -> Callable[[Connection, bytes], None]:
    body = json.dumps(answer).encode()
    return lambda connection, _: connection.answer(body)


def problem(status: bytes, code: str, extra: bytes = b"") -> Callable[[Connection, bytes], None]:
    body = json.dumps({"type": "x", "title": "x", "status": 1, "code": code}).encode()
    return lambda connection, _: connection.answer(body, status=status, extra=extra)


def load(
    server: Server, homeserver: FakeHomeserver | None = None, **options: Any
) -> tuple[Checker, Checker]:
    """Load the module as Synapse does, and return what it registered."""
    homeserver = homeserver or FakeHomeserver()
    loaded.load(homeserver, url=server.url, token=TOKEN, **options)
    callbacks = homeserver.callbacks
    return callbacks["auth_checkers"]["m.login.password", ("password",)], callbacks[
        "check_3pid_auth"
    ]


async def log_in(checker: Checker, typed: str = "alice", password: Any = PASSWORD) -> Any:
    return await checker(typed, "m.login.password", {"password": password})


@on_reactor
async def test_the_right_password_gives_synapse_the_mxid() -> None:
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, by_threepid = load(server)

        assert await log_in(by_name) == ("@alice:hs.example", None)
        assert await log_in(by_name, "@ALICE:hs.example") == ("@alice:hs.example", None)
        assert await by_threepid("email", "a@x.org", PASSWORD) == ("@alice:hs.example", None)
        assert await by_threepid("msisdn", "4917012345", PASSWORD) == ("@alice:hs.example", None)


@on_reactor
async def test_the_wrong_password_gives_synapse_nothing() -> None:
    async with serving(says(result="refused")) as server:
        by_name, by_threepid = load(server)

        assert await log_in(by_name) is None
        assert await by_threepid("email", "a@x.org", PASSWORD) is None


@pytest.mark.parametrize("typed", ["@alice:evil.example", "@alice", "", "@", "m\u00fcller"])
@on_reactor
async def test_who_is_not_of_this_server_is_not_asked_about(typed: str) -> None:
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server)

        assert await log_in(by_name, typed) is None
        assert server.requests == []


@pytest.mark.parametrize("password", ["", "  ", None, 7, "x" * 513])
@on_reactor
async def test_what_is_no_password_is_not_asked_about(password: object) -> None:
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, by_threepid = load(server)

        assert await log_in(by_name, password=password) is None
        assert await by_threepid("email", "a@x.org", password) is None
        assert server.requests == []


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800"], ids=ascii)
@on_reactor
async def test_what_no_database_can_hold_does_not_reach_the_local_one(text: str) -> None:
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, by_threepid = load(server)

        for call in (
            log_in(by_name, text),
            log_in(by_name, password=text),
            by_threepid("email", f"{text}@x.org", PASSWORD),
            by_threepid("email", "a@x.org", text),
        ):
            with pytest.raises(HonestError) as told:
                await call
            assert (told.value.code, told.value.errcode) == (403, "M_FORBIDDEN")
        assert server.requests == []


@on_reactor
async def test_a_disabled_account_is_told_so() -> None:
    async with serving(says(result="refused", reason="disabled")) as server:
        by_name, _ = load(server)

        with pytest.raises(HonestError) as told:
            await log_in(by_name)

    assert (told.value.code, told.value.errcode) == (403, "M_USER_DEACTIVATED")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, CHANGE_IT),
        (
            {"account_page": "https://me.example.org"},
            f"{CHANGE_IT} You can do so at https://me.example.org",
        ),
    ],
    ids=["no page", "a page"],
)
@on_reactor
async def test_a_password_that_has_to_be_changed_is_no_wrong_one(
    options: dict[str, Any], sentence: str
) -> None:
    async with serving(says(result="refused", reason="password_change_required")) as server:
        by_name, by_threepid = load(server, **options)

        for call in (log_in(by_name), by_threepid("email", "a@x.org", PASSWORD)):
            with pytest.raises(HonestError) as told:
                await call

            assert (told.value.code, told.value.errcode) == (403, "M_FORBIDDEN")
            assert told.value.msg == sentence


OUTAGES: dict[str, tuple[Callable[[Connection, bytes], None], str]] = {
    "hangs up": (lambda connection, _: connection.abort(), "5"),
    "hangs": (lambda *_: None, "5"),
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
        by_name, by_threepid = load(server, timeout=0.3)
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
        by_name, by_threepid = load(server, timeout=0.3, unavailable="try_local")

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


async def in_one_request(*logins: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Call the checkers as Synapse does while it works on a request."""
    request = ContextRequest("POST-1", "192.0.2.1", "", None, None, "POST", "/", "1.1", "")

    async def as_synapse_does() -> list[Any]:
        with LoggingContext(name="login", server_name="test", request=request):
            return [await login() for login in logins]

    return await defer.ensureDeferred(as_synapse_does())


LOCAL = "@Admin:hs.example"


@on_reactor
async def test_s1_local_users_are_never_sent_out_by_name_or_address() -> None:
    homeserver = FakeHomeserver(LOCAL)
    homeserver.add_address(LOCAL, "email", "root@x.org")
    homeserver.add_address(LOCAL, "msisdn", "4917012345")
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, by_threepid = load(server, homeserver, local_users=["admin", "bot-*"])

        for typed in ("admin", "ADMIN", "@admin:hs.example", LOCAL, "bot-1"):
            assert await log_in(by_name, typed) is None
        assert await by_threepid("email", "root@x.org", PASSWORD) is None
        assert await by_threepid("msisdn", "4917012345", PASSWORD) is None
        assert server.requests == []
        assert await by_threepid("email", "alice@x.org", PASSWORD) is not None
        assert await log_in(by_name) is not None


@on_reactor
async def test_an_address_is_not_sent_out_while_its_owner_is_unknown() -> None:
    homeserver = FakeHomeserver()
    homeserver.database.execute("DROP TABLE user_threepids")
    async with serving(says(result="accepted", user=ALICE)) as server:
        _, by_threepid = load(server, homeserver, local_users=["admin"])

        with pytest.raises(HonestError) as told:
            await by_threepid("email", "root@x.org", PASSWORD)

        assert told.value.code == 503
        assert server.requests == []


@on_reactor
async def test_s16_an_address_of_lalepass_is_refused_by_one_check() -> None:
    """Synapse asks again with the MXID that has the address, within the same request."""
    homeserver = FakeHomeserver()
    async with serving(says(result="accepted", user={**ALICE, "emails": ["a@x.org"]})) as server:
        by_name, by_threepid = load(server, homeserver)
        assert await log_in(by_name) is not None

        server.behaviour = says(result="refused")
        asked = len(server.requests)

        async def address() -> Any:
            return await by_threepid("email", "a@x.org", "wrong")

        async def mxid() -> Any:
            return await log_in(by_name, "@alice:hs.example", "wrong")

        async def another() -> Any:
            return await log_in(by_name, "@bob:hs.example", "wrong")

        assert await in_one_request(address, mxid) == [None, None]
        assert len(server.requests) == asked + 1
        # another request, and another account than that of the address
        assert await in_one_request(mxid) == [None]
        assert await in_one_request(address, another) == [None, None]
        assert len(server.requests) == asked + 4


@on_reactor
async def test_s16_an_address_that_only_synapse_knows_is_still_a_login() -> None:
    homeserver = FakeHomeserver("@alice:hs.example")
    homeserver.add_address("@alice:hs.example", "email", "own@z.org")
    async with serving(says(result="refused")) as server:
        by_name, by_threepid = load(server, homeserver)

        async def address() -> Any:
            answer = await by_threepid("email", "own@z.org", PASSWORD)
            server.behaviour = says(result="accepted", user=ALICE)
            return answer

        assert await in_one_request(address, lambda: log_in(by_name)) == [
            None,
            ("@alice:hs.example", None),
        ]


@on_reactor
async def test_with_try_local_an_outage_is_waited_for_once_in_a_request() -> None:
    async with serving(OUTAGES["talks nonsense"][0]) as server:
        by_name, by_threepid = load(server, unavailable="try_local")

        async def address() -> Any:
            return await by_threepid("email", "a@x.org", PASSWORD)

        assert await in_one_request(address, lambda: log_in(by_name)) == [None, None]
        assert len(server.requests) == 1


@on_reactor
async def test_the_profile_of_who_logs_in_is_brought_in_step() -> None:
    homeserver = FakeHomeserver()
    user = {**ALICE, "emails": ["A@x.org"], "phones": ["4917012345"], "admin": True}
    async with serving(says(result="accepted", user=user)) as server:
        by_name, _ = load(server, homeserver, profile={"phones": "never"})
        await log_in(by_name)

    assert homeserver.addresses == [("@alice:hs.example", "email", "a@x.org")]
    assert not homeserver.admin("@alice:hs.example")


@on_reactor
async def test_a_profile_that_can_not_be_written_fails_no_login(
    caplog: pytest.LogCaptureFixture,
) -> None:
    homeserver = FakeHomeserver()
    homeserver.database.execute("DROP TABLE user_threepids")
    name = "lalepass_provider_profile_failures_total"
    before = REGISTRY.get_sample_value(name, {"part": "profile"}) or 0
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server, homeserver)

        assert await log_in(by_name) == ("@alice:hs.example", None)

    assert "could not be read" in caplog.text
    assert REGISTRY.get_sample_value(name, {"part": "profile"}) == before + 1


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


@on_reactor
async def test_the_service_learns_who_is_asking() -> None:
    request = ContextRequest(
        request_id="POST-42",
        ip_address="2001:db8::7",
        site_tag="8008",
        requester=None,
        authenticated_entity=None,
        method="POST",
        url="/login",
        protocol="1.1",
        user_agent="Element/1 " + "x" * 1000,
    )
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server)

        async def as_synapse_does() -> object:
            context = LoggingContext(name="login", server_name="test", request=request)
            with context:
                await log_in(by_name)
                return current_context() is context

        kept = await defer.ensureDeferred(as_synapse_does())
        head, _, body = server.requests[0].partition(b"\r\n\r\n")

    source = json.loads(body)["source"]
    assert kept
    assert source["ip"] == "2001:db8::7"
    assert len(source["user_agent"]) == 512
    assert b"\r\nx-request-id: post-42\r\n" in head.lower()
    assert f"\r\nauthorization: bearer {TOKEN}".encode() in head.lower()


def fail(a_local_variable: str) -> None:
    assert a_local_variable
    raise RuntimeError("something is on fire")


@pytest.mark.parametrize("odd", ["POST-\u00e9", "a b", "a\r\nX: y", "x" * 65, ""], ids=ascii)
@on_reactor
async def test_a_request_id_that_is_no_header_is_not_sent(odd: str) -> None:
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server)

        async def as_synapse_does() -> object:
            facts = ContextRequest(odd, "192.0.2.1", "", None, None, "POST", "/", "1.1", "")
            with LoggingContext(name="login", server_name="test", request=facts):
                return await log_in(by_name)

        assert await defer.ensureDeferred(as_synapse_does()) is not None
        assert b"x-request-id" not in server.requests[0].lower()


@on_reactor
async def test_no_secret_is_logged_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    behaviours = [
        says(result="accepted", user=ALICE),
        says(result="refused"),
        lambda connection, request: connection.answer(request),
        lambda connection, _: connection.abort(),
    ]
    for behaviour in behaviours:
        async with serving(behaviour) as server:
            by_name, _ = load(server)
            try:
                await log_in(by_name)
            except HonestError as exc:
                logging.getLogger("test").warning("told", exc_info=exc)

    homeserver = FakeHomeserver()
    homeserver.before_registering = lambda: fail(PASSWORD)
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server, homeserver)
        with pytest.raises(HonestError):
            await log_in(by_name)

    assert "told" in caplog.text
    assert "Traceback" in caplog.text
    assert "something is on fire" in caplog.text
    assert PASSWORD not in caplog.text
    assert TOKEN not in caplog.text


@on_reactor
async def test_the_same_class_is_a_legacy_password_provider() -> None:
    """`password_providers:` builds it with other argument names and looks for method names."""
    homeserver = FakeHomeserver()
    config = LalepassProvider.parse_config(
        {"url": "http://localhost:1", "token": TOKEN, "lifecycle": {"enabled": False}}
    )

    provider = LalepassProvider(config=config, account_handler=cast("Any", homeserver))

    assert set(homeserver.callbacks) == {"auth_checkers", "check_3pid_auth"}
    for name in ("check_auth", "check_password", "check_3pid_auth", "get_supported_login_types"):
        assert not hasattr(provider, name)


@pytest.fixture
def repeated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be done again and again."""
    names: list[str] = []
    monkeypatch.setattr(SynapseBackground, "repeat", lambda _, name, __: names.append(name))
    return names


@on_reactor
async def test_a_login_is_followed_by_a_report_and_lifecycle_asks_about_each_request(
    repeated: list[str],
) -> None:
    homeserver = FakeHomeserver()
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server, homeserver, lifecycle={"enabled": True})
        login = await log_in(by_name)

    assert login[0] == "@alice:hs.example"
    assert callable(login[1])
    assert {"is_user_expired", "on_logged_out"} < set(homeserver.callbacks)
    assert repeated == ["follow", "profiles"]


@on_reactor
async def test_profiles_are_the_business_of_the_main_process(repeated: list[str]) -> None:
    homeserver = FakeHomeserver()
    homeserver.worker_app = "synapse.app.generic_worker"
    async with serving(says(result="accepted", user=ALICE)) as server:
        load(server, homeserver, lifecycle={"enabled": True})

    assert repeated == ["follow"]


@on_reactor
async def test_a_login_with_nothing_to_write_is_one_question_to_the_database() -> None:
    homeserver = FakeHomeserver()
    asked: list[str] = []
    processes: list[str] = []
    run = homeserver.run_as_background_process

    async def note(desc: str) -> None:
        asked.append(desc)

    def begin(desc: str, func: Any) -> Any:
        processes.append(desc)
        return run(desc, func)

    homeserver.run_as_background_process = begin  # type: ignore[method-assign] # it is watched
    user = {**ALICE, "emails": ["A@x.org"]}
    async with serving(says(result="accepted", user=user)) as server:
        by_name, _ = load(server, homeserver)
        await log_in(by_name)
        homeserver.before_reading = note
        processes.clear()
        await log_in(by_name)
        assert (asked, processes) == (["lalepass_linked"], [])

        # What somebody else has changed is seen, and set right.
        homeserver.database.execute("DELETE FROM user_threepids")
        await log_in(by_name)

    assert processes == ["lalepass_profile"]
    assert homeserver.addresses == [("@alice:hs.example", "email", "a@x.org")]


@on_reactor
async def test_a_profile_that_can_not_be_read_any_more_fails_no_login(
    caplog: pytest.LogCaptureFixture,
) -> None:
    homeserver = FakeHomeserver()
    async with serving(says(result="accepted", user=ALICE)) as server:
        by_name, _ = load(server, homeserver)
        await log_in(by_name)
        homeserver.database.execute("DROP TABLE lalepass_profile")

        assert await log_in(by_name) == ("@alice:hs.example", None)

    assert "The profile of @alice:hs.example could not be read" in caplog.text
