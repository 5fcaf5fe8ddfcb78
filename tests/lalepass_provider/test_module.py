"""What Synapse gets to see, with a service on loopback behind it."""

import json
import logging
from typing import Any, cast

import pytest
from synapse.logging.context import (  # type: ignore[attr-defined]  # one is written in Rust
    ContextRequest,
    LoggingContext,
    current_context,
)
from twisted.internet import defer

from lalepass_provider import LalepassProvider
from lalepass_provider.background import SynapseBackground
from lalepass_provider.honest import HonestError
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.logins import (
    ALICE,
    CHANGE_IT,
    PASSWORD,
    TOKEN,
    fail,
    load,
    log_in,
    says,
)
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.servers import serving


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


@pytest.mark.parametrize(
    ("medium", "address"),
    [("msisdn", 4917012345), ("msisdn", True), ("msisdn", 1.5), (7, "a@x.org"), (None, "a@x.org")],
    ids=repr,
)
@on_reactor
async def test_an_address_that_is_no_text_is_refused_and_no_outage(
    caplog: pytest.LogCaptureFixture, medium: object, address: object
) -> None:
    """Synapse hands over whatever JSON a client has sent (`handlers/auth.py`, validate_login)."""
    async with serving(says(result="accepted", user=ALICE)) as server:
        _, by_threepid = load(server)

        with pytest.raises(HonestError) as told:
            await by_threepid(medium, address, PASSWORD)

        assert (told.value.code, told.value.errcode) == (403, "M_FORBIDDEN")
        assert server.requests == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


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
