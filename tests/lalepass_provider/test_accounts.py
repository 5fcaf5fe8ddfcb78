"""The Matrix account behind an accepted password."""

import pytest
from synapse.api.errors import ResourceLimitError
from synapse.module_api.errors import SynapseError
from twisted.internet import defer

from lalepass_provider.accounts import AccountRefused, MatrixAccounts
from lalepass_wire import AcceptedUser
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.on_reactor import on_reactor

ALICE = AcceptedUser(id="1", localpart="alice", display_name="Alice", emails=("alice@x.org",))


@on_reactor
async def test_the_first_login_makes_the_account() -> None:
    homeserver = FakeHomeserver()

    mxid = await MatrixAccounts(homeserver).ensure(ALICE)

    assert mxid == "@alice:hs.example"
    assert homeserver.accounts == {"@alice:hs.example": "Alice"}


@on_reactor
async def test_later_logins_find_it() -> None:
    homeserver = FakeHomeserver("@alice:hs.example")

    assert await MatrixAccounts(homeserver).ensure(ALICE) == "@alice:hs.example"
    assert homeserver.registered == []


@on_reactor
async def test_an_account_with_historic_capitals_is_the_same_account() -> None:
    homeserver = FakeHomeserver("@Alice:hs.example")

    assert await MatrixAccounts(homeserver).ensure(ALICE) == "@Alice:hs.example"
    assert homeserver.registered == []


@on_reactor
async def test_of_several_spellings_the_exact_one_is_meant() -> None:
    homeserver = FakeHomeserver("@Alice:hs.example", "@alice:hs.example")

    assert await MatrixAccounts(homeserver).ensure(ALICE) == "@alice:hs.example"


@on_reactor
async def test_nobody_is_let_in_where_it_could_be_either_of_two() -> None:
    homeserver = FakeHomeserver("@Alice:hs.example", "@ALICE:hs.example")

    with pytest.raises(AccountRefused, match="403 M_FORBIDDEN"):
        await MatrixAccounts(homeserver).ensure(ALICE)


@on_reactor
async def test_parallel_first_logins_make_one_account() -> None:
    homeserver = FakeHomeserver()
    accounts = MatrixAccounts(homeserver)

    def another_login() -> None:
        homeserver.before_registering = lambda: None
        defer.ensureDeferred(accounts.ensure(ALICE))

    homeserver.before_registering = another_login

    assert await accounts.ensure(ALICE) == "@alice:hs.example"
    assert homeserver.registered == ["@alice:hs.example"]


@on_reactor
async def test_what_the_homeserver_says_against_a_new_account_is_passed_on() -> None:
    homeserver = FakeHomeserver()
    homeserver.refuse = SynapseError(403, "Limit exceeded", "M_RESOURCE_LIMIT_EXCEEDED")

    with pytest.raises(AccountRefused) as refused:
        await MatrixAccounts(homeserver).ensure(ALICE)

    assert (refused.value.status, refused.value.errcode, refused.value.message) == (
        403,
        "M_RESOURCE_LIMIT_EXCEEDED",
        "Limit exceeded",
    )


@on_reactor
async def test_a_guests_or_a_puppets_account_is_nobodys_to_take() -> None:
    homeserver = FakeHomeserver("@alice:hs.example")
    for special in (homeserver.guests, homeserver.puppets):
        special.add("@alice:hs.example")

        with pytest.raises(AccountRefused, match="403 M_FORBIDDEN"):
            await MatrixAccounts(homeserver).ensure(ALICE)
        special.clear()


@on_reactor
async def test_whom_to_ask_about_a_full_server_is_passed_on() -> None:
    homeserver = FakeHomeserver()
    homeserver.refuse = ResourceLimitError(
        403, "This server is full", admin_contact="mailto:admin@x.org", limit_type="mau"
    )

    with pytest.raises(AccountRefused) as refused:
        await MatrixAccounts(homeserver).ensure(ALICE)

    assert refused.value.errcode == "M_RESOURCE_LIMIT_EXCEEDED"
    assert refused.value.fields == {"admin_contact": "mailto:admin@x.org", "limit_type": "mau"}


@pytest.mark.parametrize("name", ["x" * 257, "a\0b"], ids=["long", "nul"])
@on_reactor
async def test_a_name_that_no_homeserver_keeps_is_left_out(name: str) -> None:
    homeserver = FakeHomeserver()

    await MatrixAccounts(homeserver).ensure(ALICE.model_copy(update={"display_name": name}))

    assert homeserver.accounts == {"@alice:hs.example": None}
