"""Which accounts are not asked about, who is asked about once, and the profile."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from lalepass_provider.honest import HonestError
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.logins import (
    ALICE,
    PASSWORD,
    in_one_request,
    load,
    log_in,
    says,
)
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.servers import serving

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
